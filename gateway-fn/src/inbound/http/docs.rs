//! `/docs` and `/redoc`: Swagger UI and ReDoc over `/openapi.json`, out of the binary, so that they work
//! without the internet. Addresses in the pages are relative: they work behind a path prefix too.

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

/// A file of Swagger UI or ReDoc.
#[derive(Debug)]
pub(super) struct Asset {
    /// With the version in it, because browsers keep the file for a year.
    pub(super) path: &'static str,
    content_type: &'static str,
    gzip: &'static [u8],
}

/// `assets/README.md` says where they come from.
pub(super) const ASSETS: [Asset; 4] = [
    Asset {
        path: "/docs/assets/swagger-ui-5.35.0.js",
        content_type: JAVASCRIPT,
        gzip: include_bytes!("../../../assets/swagger-ui.js.gz"),
    },
    Asset {
        path: "/docs/assets/swagger-ui-5.35.0.css",
        content_type: "text/css; charset=utf-8",
        gzip: include_bytes!("../../../assets/swagger-ui.css.gz"),
    },
    Asset {
        path: "/docs/assets/oauth2-redirect-5.35.0.js",
        content_type: JAVASCRIPT,
        gzip: include_bytes!("../../../assets/oauth2-redirect.js.gz"),
    },
    Asset {
        path: "/docs/assets/redoc-2.5.4.js",
        content_type: JAVASCRIPT,
        gzip: include_bytes!("../../../assets/redoc.js.gz"),
    },
];

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

pub(super) fn page(page: Page, title: &str) -> Response {
    let html = match page {
        Page::SwaggerUi => include_str!("../../../assets/swagger-ui.html"),
        Page::Redoc => include_str!("../../../assets/redoc.html"),
        Page::OAuth2Redirect => include_str!("../../../assets/oauth2-redirect.html"),
    };
    Html(html.replace("{{title}}", &escape(title))).into_response()
}

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
    fn the_binary_carries_little_more_than_a_megabyte_for_them() {
        let total: usize = ASSETS.iter().map(|asset| asset.gzip.len()).sum();
        assert!(total < 1_200_000, "{total} bytes");
    }
}
