//! Tests the pages with the documentation of the API, and the scripts that they load.

use super::*;

#[tokio::test]
async fn the_pages_load_only_files_that_the_gateway_serves() {
    for page in ["/docs", "/redoc", "/docs/oauth2-redirect"] {
        let html = send(without_body("GET", page)).await;
        assert_eq!(
            html.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert!(
            !html.text().contains("//"),
            "{page} contains the URL of another host"
        );
        let directory = page.rsplit_once('/').map_or("", |(directory, _)| directory);
        let quoted = html.text().split(['"', '\'']);
        let urls: Vec<_> = quoted
            .filter(|text| text.contains("assets/") || *text == "openapi.json")
            .collect();
        assert!(!urls.is_empty(), "{page} loads nothing");
        for url in urls {
            let reply = send(without_body("GET", &format!("{directory}/{url}"))).await;
            assert_eq!(reply.0, StatusCode::OK, "{page}: {url}");
        }
    }
    let html = send(without_body("GET", "/docs")).await;
    assert!(
        html.text()
            .contains("<title>A &lt;b&gt; title - Swagger UI</title>")
    );
}

#[tokio::test]
async fn scripts_are_compressed_for_clients_that_accept_gzip() {
    let path = Scripts::EMBEDDED.assets()[0].path();
    let compressed = send(request("GET", path, &[("accept-encoding", "gzip")], "")).await;
    let plain = send(without_body("GET", path)).await;
    assert_eq!(
        (
            compressed.header("content-encoding"),
            plain.header("content-encoding")
        ),
        (Some("gzip"), None)
    );
    assert!(compressed.2.starts_with(&[0x1f, 0x8b]) && plain.text().contains("SwaggerUIBundle"));
    assert_eq!(plain.header("vary"), Some("accept-encoding"));
    assert!(
        plain
            .header("cache-control")
            .is_some_and(|value| value.contains("immutable"))
    );
}

#[tokio::test]
async fn head_returns_the_headers_of_a_page() {
    let (get, head) = (
        send(without_body("GET", "/docs")).await,
        send(without_body("HEAD", "/docs")).await,
    );
    assert_eq!((head.0, head.2.len()), (StatusCode::OK, 0));
    assert_eq!(
        head.header("content-length"),
        Some(&*get.2.len().to_string())
    );
}
