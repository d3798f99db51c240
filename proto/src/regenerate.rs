//! Generates `src/gen/` from `proto/jina/*.proto` and fails when the committed files differ.
//! `FLOWGATE_REGENERATE=1 cargo test -p flowgate-proto regenerate` writes them.

use std::{fs, path::Path};

use prost::Message as _;

const NOTICE: &str = "// @generated from proto/jina by src/regenerate.rs. Do not edit.\n\n";

#[test]
fn committed_code_matches_the_protos() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors =
        protox::compile(["jina.proto"], [root.join("jina")]).expect("the protos compile");

    // Generated under the target directory, so that a check leaves the source tree clean.
    let out_dir = root.join("../target/regenerated-protos");
    fs::create_dir_all(&out_dir).expect("the target directory is writable");
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    // Large messages that most documents do not have: inline they would make every document as large.
    for field in [
        "DocumentProto.content.tensor",
        "DocumentProto.embedding",
        "NdArrayProto.content.sparse",
    ] {
        config.boxed(format!(".docarray.{field}"));
    }
    tonic_prost_build::configure()
        .build_transport(false)
        .btree_map(".")
        .bytes(".docarray")
        .extern_path(".jina.DataRequestProto", "crate::DataRequest")
        .codec_path("crate::JinaCodec")
        .emit_rerun_if_changed(false)
        .out_dir(&out_dir)
        .compile_fds_with_config(descriptors.clone(), config)
        .expect("the generator accepts the descriptors");
    fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec()).expect("writable");

    for name in ["jina.rs", "docarray.rs"] {
        let code = fs::read_to_string(out_dir.join(name)).expect("the generator wrote it");
        fs::write(out_dir.join(name), format!("{NOTICE}{code}")).expect("writable");
    }
    for name in ["jina.rs", "docarray.rs", "descriptors.bin"] {
        let fresh = fs::read(out_dir.join(name)).expect("just written");
        let committed = root.join("src/gen").join(name);
        if std::env::var_os("FLOWGATE_REGENERATE").is_some() {
            fs::write(&committed, &fresh).expect("writable");
        }
        assert!(
            fs::read(&committed).expect("committed") == fresh,
            "{name} differs from the protos: run the test with FLOWGATE_REGENERATE=1"
        );
    }
}
