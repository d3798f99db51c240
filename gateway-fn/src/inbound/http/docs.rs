//! `/docs` and `/redoc`: Swagger UI and ReDoc over `/openapi.json`. Their scripts come out of the binary, so that the
//! pages work without the internet, or from the network that Jina's pages load them from, where a megabyte in the
//! binary is too much. Addresses of ours in the pages are relative: they work behind a path prefix too.

use std::io::Read as _;

use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use flate2::bufread::GzDecoder;
use http::{HeaderMap, StatusCode, header};

/// A page of ours, for people.
#[derive(Clone, Copy, Debug)]
pub(super) enum Page {
    SwaggerUi,
    Redoc,
    OAuth2Redirect,
}

/// Where the pages have their scripts from.
#[derive(Clone, Copy, Debug)]
pub struct Scripts(&'static [Asset]);

/// A file of Swagger UI or ReDoc in the binary.
#[derive(Debug)]
pub(super) struct Asset {
    file: &'static File,
    content_type: &'static str,
    gzip: &'static [u8],
}

/// A file of Swagger UI or ReDoc, wherever it comes from.
#[derive(Debug)]
struct File {
    /// What stands for it in a page.
    name: &'static str,
    /// Of our own, with the version in it, because browsers keep the file for a year.
    path: &'static str,
    /// Relative to its page.
    address: &'static str,
    on_network: &'static str,
    /// Subresource Integrity: what the network gives must be the file that we know.
    integrity: &'static str,
}

impl Scripts {
    /// Out of the binary, which is a megabyte larger for them.
    pub const EMBEDDED: Self = Self(&ASSETS);

    /// From jsDelivr, as in Jina 3.13.
    pub const FROM_NETWORK: Self = Self(&[]);

    /// The files that have a route of their own.
    pub(super) const fn assets(self) -> &'static [Asset] {
        self.0
    }

    pub(super) fn page(self, page: Page, title: &str) -> Response {
        let html = match page {
            Page::SwaggerUi => include_str!("../../../assets/swagger-ui.html"),
            Page::Redoc => include_str!("../../../assets/redoc.html"),
            Page::OAuth2Redirect => include_str!("../../../assets/oauth2-redirect.html"),
        };
        let mut html = html.replace("{{title}}", &escape(title));
        for file in [&SWAGGER_UI, &SWAGGER_UI_STYLE, &OAUTH2_REDIRECT, &REDOC] {
            html = html.replace(&format!("{{{{{}}}}}", file.name), &self.reference(file));
        }
        Html(html).into_response()
    }

    /// The attributes of the element that loads a file.
    fn reference(self, file: &File) -> String {
        let File {
            name,
            address,
            on_network,
            integrity,
            ..
        } = file;
        let key = if name.ends_with(".css") {
            "href"
        } else {
            "src"
        };
        match self.0.is_empty() {
            false => format!(r#"{key}="{address}""#),
            true => {
                format!(r#"{key}="{on_network}" integrity="{integrity}" crossorigin="anonymous""#)
            }
        }
    }
}

impl Asset {
    pub(super) const fn path(&self) -> &'static str {
        self.file.path
    }
}

/// `assets/README.md` says where they come from.
const ASSETS: [Asset; 4] = [
    Asset {
        file: &SWAGGER_UI,
        content_type: JAVASCRIPT,
        gzip: include_bytes!("../../../assets/swagger-ui.js.gz"),
    },
    Asset {
        file: &SWAGGER_UI_STYLE,
        content_type: "text/css; charset=utf-8",
        gzip: include_bytes!("../../../assets/swagger-ui.css.gz"),
    },
    Asset {
        file: &OAUTH2_REDIRECT,
        content_type: JAVASCRIPT,
        gzip: include_bytes!("../../../assets/oauth2-redirect.js.gz"),
    },
    Asset {
        file: &REDOC,
        content_type: JAVASCRIPT,
        gzip: include_bytes!("../../../assets/redoc.js.gz"),
    },
];

const SWAGGER_UI: File = File {
    name: "swagger-ui.js",
    path: "/docs/assets/swagger-ui-5.35.0.js",
    address: "docs/assets/swagger-ui-5.35.0.js",
    on_network: "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.35.0/swagger-ui-bundle.js",
    integrity: "sha384-gjRm0bEPMeTmMh5jT2cHccIwCUZSTd8YC+j0d0sXw0MdGEfScduGpSyF3ZSSLkX9",
};

const SWAGGER_UI_STYLE: File = File {
    name: "swagger-ui.css",
    path: "/docs/assets/swagger-ui-5.35.0.css",
    address: "docs/assets/swagger-ui-5.35.0.css",
    on_network: "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.35.0/swagger-ui.css",
    integrity: "sha384-WlYgdmXYOOBWL5apwjDEZwN+U3HmXSSu5R6V5aGxEcf7z+KuRNwBhoxKVN1i3D5I",
};

const OAUTH2_REDIRECT: File = File {
    name: "oauth2-redirect.js",
    path: "/docs/assets/oauth2-redirect-5.35.0.js",
    // Its page is below `/docs` itself.
    address: "assets/oauth2-redirect-5.35.0.js",
    on_network: "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.35.0/oauth2-redirect.js",
    integrity: "sha384-XuY48ztmqRBrZqX+bDrPUqkTumNohu9Bl+yztOEp/hDTS5qXIApmbiD04MrTFpjk",
};

const REDOC: File = File {
    name: "redoc.js",
    path: "/docs/assets/redoc-2.5.4.js",
    address: "docs/assets/redoc-2.5.4.js",
    on_network: "https://cdn.jsdelivr.net/npm/redoc@2.5.4/bundles/redoc.standalone.js",
    integrity: "sha384-w447zOpYfw/1Tv/5AK9NfHTlQIqE3RVR6KY62jCyy9zNDgO64cMwGGP1Fj0zJVf5",
};

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

pub(super) fn asset(asset: &'static Asset, asked: &HeaderMap) -> Response {
    let head = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, "accept-encoding"),
    ];
    if accepts_gzip(asked) {
        let encoding = [(header::CONTENT_ENCODING, "gzip")];
        return (head, encoding, Bytes::from_static(asset.gzip)).into_response();
    }
    let mut plain = Vec::new();
    match GzDecoder::new(asset.gzip).read_to_end(&mut plain) {
        Ok(_) => (head, plain).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Whether `accept-encoding` names gzip with a weight above nought.
fn accepts_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight
            .trim()
            .strip_prefix("q=")
            .and_then(|q| q.parse().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.unwrap_or(1.0_f32) > 0.0
    })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use http_body_util::BodyExt as _;
    use ring::digest::{SHA384, digest};

    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (value, accepted) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("br, gzip ; q=1", true),
            ("gzip;q=0", false),
            ("deflate", false),
            ("", false),
        ] {
            let value = value.parse().expect("a header value");
            let asked = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]);
            assert_eq!(accepts_gzip(&asked), accepted, "{asked:?}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn the_network_must_give_the_very_files_that_are_embedded() {
        for asset in &ASSETS {
            let mut plain = Vec::new();
            GzDecoder::new(asset.gzip)
                .read_to_end(&mut plain)
                .expect("gzip");
            let digest = STANDARD.encode(digest(&SHA384, &plain));
            let File { integrity, .. } = asset.file;
            assert_eq!(format!("sha384-{digest}"), *integrity, "{asset:?}");
        }
    }

    #[tokio::test]
    async fn a_page_names_every_file_in_one_way_or_the_other() {
        for (scripts, ours) in [(Scripts::EMBEDDED, true), (Scripts::FROM_NETWORK, false)] {
            for page in [Page::SwaggerUi, Page::Redoc, Page::OAuth2Redirect] {
                let body = scripts.page(page, "a & b").into_body();
                let body = body.collect().await.expect("a body").to_bytes();
                let html = String::from_utf8_lossy(&body);
                assert_eq!(html.contains("assets/"), ours, "{html}");
                assert_eq!(html.contains("integrity=\"sha384-"), !ours, "{html}");
                assert!(!html.contains("{{"), "{html}");
            }
        }
    }

    #[test]
    fn the_binary_carries_little_more_than_a_megabyte_for_them() {
        let total: usize = ASSETS.iter().map(|asset| asset.gzip.len()).sum();
        assert!(total < 1_200_000, "{total} bytes");
    }
}
