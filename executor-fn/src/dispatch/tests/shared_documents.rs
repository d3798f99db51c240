//! Documents that the sender in the same process has decoded, and may need again.

use super::*;

#[tokio::test]
async fn documents_of_the_same_process_are_not_copied_for_a_handler_that_only_reads() {
    let sent = request("/x", &["a", "b"]);
    let sent_at = sent.documents.decode().expect("documents").as_ptr() as usize;
    let service = on_x(move |request: Request| async move {
        assert_eq!(request.documents().as_ptr() as usize, sent_at);
        Ok(Reply::unchanged())
    });
    let answer = service.process(vec![sent.clone()]).await;
    assert!(!answer.is_error, "{:?}", answer.request.header.status);
    let answered = answer.request.documents.decode().expect("documents");
    assert_eq!(answered.as_ptr() as usize, sent_at);
}

/// They are the sender's: it gets them back unchanged from a handler that changes them and fails.
#[tokio::test]
async fn documents_of_the_same_process_are_copied_for_a_handler_that_changes_them() {
    let sent = request("/x", &["a", "b"]);
    let service = on_x(|mut request: Request| async move {
        request.documents_mut()[0].id = "changed".to_owned();
        Err(Error::value_error("boom"))
    });
    let answer = service.process(vec![sent.clone()]).await;
    assert!(answer.is_error);
    assert_eq!(ids(&answer), ["a", "b"]);
    assert_eq!(answer.request.documents, sent.documents);
}
