//! Serves `/docs` and `/redoc`: Swagger UI and ReDoc over `/openapi.json`.
//!
//! Their scripts are embedded in the binary, so that the pages work without the internet, or are loaded from the CDN that
//! Jina's pages use, where an extra megabyte is too much. Links to the Gateway are relative, so that they work behind a
//! path prefix.

use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use flowgate_proto::{
    Compression,
    invoke::{PayloadError, decompress},
};
use http::{HeaderMap, StatusCode, header};

use super::body::accepts_encoding;

/// A page of the documentation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Page {
    SwaggerUi,
    Redoc,
    OAuth2Redirect,
}

/// Where the pages load their scripts from.
#[derive(Clone, Copy, Debug)]
pub struct Scripts(&'static [Asset]);

/// A file of Swagger UI or ReDoc that is embedded in the binary.
#[derive(Debug)]
pub(super) struct Asset {
    file: &'static File,
    content_type: &'static str,
    gzip: &'static [u8],
}

/// A file of Swagger UI or ReDoc, embedded or on the CDN.
#[derive(Debug)]
struct File {
    /// The placeholder's name in the pages.
    name: &'static str,
    /// The path of the embedded file's route. It contains the version, because browsers cache the file for a year.
    path: &'static str,
    /// The path relative to the page that loads the file.
    relative_path: &'static str,
    cdn_url: &'static str,
    /// The file's hash for Subresource Integrity: browsers reject anything else from the CDN.
    integrity: &'static str,
}

impl Scripts {
    /// Embedded in the binary, which adds a megabyte to it.
    pub const EMBEDDED: Self = Self(&ASSETS);

    /// Loaded from jsDelivr, as in Jina 3.13.
    pub const FROM_CDN: Self = Self(&[]);

    /// The embedded files, each of which has a route.
    pub(super) const fn assets(self) -> &'static [Asset] {
        self.0
    }

    /// Renders a page; `title` is the title of the API.
    pub(super) fn page(self, page: Page, title: &str) -> Response {
        let html = match page {
            Page::SwaggerUi => include_str!("../../../assets/swagger-ui.html"),
            Page::Redoc => include_str!("../../../assets/redoc.html"),
            Page::OAuth2Redirect => include_str!("../../../assets/oauth2-redirect.html"),
        };
        let mut html = html.replace("{{title}}", &escape(title));
        for file in [&SWAGGER_UI, &SWAGGER_UI_STYLE, &OAUTH2_REDIRECT, &REDOC] {
            html = html.replace(
                &format!("{{{{{}}}}}", file.name),
                &self.load_attributes(file),
            );
        }
        Html(html).into_response()
    }

    /// The attributes of the HTML element that loads a file.
    fn load_attributes(self, file: &File) -> String {
        let File {
            name,
            relative_path,
            cdn_url,
            integrity,
            ..
        } = file;
        let key = if name.ends_with(".css") {
            "href"
        } else {
            "src"
        };
        match self.0.is_empty() {
            false => format!(r#"{key}="{relative_path}""#),
            true => {
                format!(r#"{key}="{cdn_url}" integrity="{integrity}" crossorigin="anonymous""#)
            }
        }
    }
}

/// The embedded files; `assets/README.md` says which packages they come from.
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
    relative_path: "docs/assets/swagger-ui-5.35.0.js",
    cdn_url: "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.35.0/swagger-ui-bundle.js",
    integrity: "sha384-gjRm0bEPMeTmMh5jT2cHccIwCUZSTd8YC+j0d0sXw0MdGEfScduGpSyF3ZSSLkX9",
};

const SWAGGER_UI_STYLE: File = File {
    name: "swagger-ui.css",
    path: "/docs/assets/swagger-ui-5.35.0.css",
    relative_path: "docs/assets/swagger-ui-5.35.0.css",
    cdn_url: "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.35.0/swagger-ui.css",
    integrity: "sha384-WlYgdmXYOOBWL5apwjDEZwN+U3HmXSSu5R6V5aGxEcf7z+KuRNwBhoxKVN1i3D5I",
};

const OAUTH2_REDIRECT: File = File {
    name: "oauth2-redirect.js",
    path: "/docs/assets/oauth2-redirect-5.35.0.js",
    // The page that loads it is `/docs/oauth2-redirect`.
    relative_path: "assets/oauth2-redirect-5.35.0.js",
    cdn_url: "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.35.0/oauth2-redirect.js",
    integrity: "sha384-XuY48ztmqRBrZqX+bDrPUqkTumNohu9Bl+yztOEp/hDTS5qXIApmbiD04MrTFpjk",
};

const REDOC: File = File {
    name: "redoc.js",
    path: "/docs/assets/redoc-2.5.4.js",
    relative_path: "docs/assets/redoc-2.5.4.js",
    cdn_url: "https://cdn.jsdelivr.net/npm/redoc@2.5.4/bundles/redoc.standalone.js",
    integrity: "sha384-w447zOpYfw/1Tv/5AK9NfHTlQIqE3RVR6KY62jCyy9zNDgO64cMwGGP1Fj0zJVf5",
};

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The limit when an embedded file is decompressed; the largest one has 1.7 MB.
const MAX_ASSET_BYTES: usize = 4 << 20;

impl Asset {
    pub(super) const fn path(&self) -> &'static str {
        self.file.path
    }

    /// Serves the file, compressed if the client accepts gzip.
    pub(super) fn serve(&self, request_headers: &HeaderMap) -> Response {
        let headers = [
            (header::CONTENT_TYPE, self.content_type),
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            (header::VARY, "accept-encoding"),
        ];
        if accepts_encoding(request_headers, "gzip") {
            let encoding = [(header::CONTENT_ENCODING, "gzip")];
            return (headers, encoding, Bytes::from_static(self.gzip)).into_response();
        }
        match self.decompress() {
            Ok(plain) => (headers, plain).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }

    fn decompress(&self) -> Result<Vec<u8>, PayloadError> {
        decompress(self.gzip.to_vec(), Compression::Gzip, MAX_ASSET_BYTES)
    }
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
    fn the_cdn_must_serve_the_files_that_are_embedded() {
        for asset in &ASSETS {
            let plain = asset.decompress().expect("gzip");
            let digest = STANDARD.encode(digest(&SHA384, &plain));
            let File { integrity, .. } = asset.file;
            assert_eq!(format!("sha384-{digest}"), *integrity, "{asset:?}");
        }
    }

    #[tokio::test]
    async fn a_page_loads_every_file_from_the_gateway_or_every_file_from_the_cdn() {
        for (scripts, is_embedded) in [(Scripts::EMBEDDED, true), (Scripts::FROM_CDN, false)] {
            for page in [Page::SwaggerUi, Page::Redoc, Page::OAuth2Redirect] {
                let body = scripts.page(page, "a & b").into_body();
                let body = body.collect().await.expect("a body").to_bytes();
                let html = String::from_utf8_lossy(&body);
                assert_eq!(html.contains("assets/"), is_embedded, "{html}");
                assert_eq!(html.contains("integrity=\"sha384-"), !is_embedded, "{html}");
                assert!(!html.contains("{{"), "{html}");
            }
        }
    }

    #[test]
    fn the_embedded_files_add_little_more_than_a_megabyte() {
        let total: usize = ASSETS.iter().map(|asset| asset.gzip.len()).sum();
        assert!(total < 1_200_000, "{total} bytes");
    }
}
