//! Guesses the MIME type of a URI from its file name extension, as Python 3.10's `mimetypes` does.

/// Returns the MIME type of a URI's extension, or the one that a `data:` URI names.
pub(super) fn guess(uri: &str) -> Option<String> {
    let path = match uri.split_once(':') {
        Some((scheme, data)) if scheme.eq_ignore_ascii_case("data") => {
            return parse_data_type(data);
        }
        Some((scheme, rest)) if !scheme.is_empty() && !scheme.contains('/') => rest,
        _ => uri,
    };
    type_of_extension(effective_extension(path)?)
}

/// Returns the type of `data:TYPE;...,...`: plain text if it is missing.
fn parse_data_type(data: &str) -> Option<String> {
    let (head, _) = data.split_once(',')?;
    let named = head.split_once(';').map_or(head, |(named, _)| named);
    let is_type = named.contains('/') && !named.contains('=');
    Some(if is_type { named } else { "text/plain" }.to_owned())
}

/// Returns the extension that determines the type, without its dot: `tar` for `a.tar.gz`.
fn effective_extension(path: &str) -> Option<&str> {
    let (base, extension) = split_extension(path)?;
    match extension.to_ascii_lowercase().as_str() {
        "svgz" => return Some("svg"),
        "tgz" | "taz" | "tz" | "tbz2" | "txz" => return Some("tar"),
        _ => {}
    }
    if matches!(extension, "gz" | "Z" | "bz2" | "xz" | "br") {
        return split_extension(base).map(|(_, inner)| inner);
    }
    Some(extension)
}

/// Splits the file name of a path at its last dot; dots at the start of the name are ignored.
fn split_extension(path: &str) -> Option<(&str, &str)> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (base, extension) = name.rsplit_once('.')?;
    let has_name = base.bytes().any(|b| b != b'.');
    has_name.then_some((base, extension))
}

fn type_of_extension(extension: &str) -> Option<String> {
    let lower = extension.to_ascii_lowercase();
    // Python treats compressions as encodings, not as types.
    if matches!(lower.as_str(), "gz" | "z" | "bz2" | "xz" | "br") {
        return None;
    }
    let python = PYTHON_TYPES.iter().find(|(known, _)| *known == lower);
    let guess = python.map(|(_, mime)| *mime);
    guess
        .or_else(|| mime_guess::from_ext(&lower).first_raw())
        .map(str::to_owned)
}

/// Entries of Python's own table that differ from the crate's. Jina's image has no other table.
const PYTHON_TYPES: [(&str, &str); 38] = [
    ("3g2", "audio/3gpp2"),
    ("3gp", "audio/3gpp"),
    ("3gpp", "audio/3gpp"),
    ("3gpp2", "audio/3gpp2"),
    ("a", "application/octet-stream"),
    ("aif", "audio/x-aiff"),
    ("aifc", "audio/x-aiff"),
    ("aiff", "audio/x-aiff"),
    ("ass", "audio/aac"),
    ("bat", "text/plain"),
    ("bmp", "image/x-ms-bmp"),
    ("cdf", "application/x-netcdf"),
    ("dll", "application/octet-stream"),
    ("h5", "application/x-hdf5"),
    ("ico", "image/vnd.microsoft.icon"),
    ("js", "application/javascript"),
    ("ksh", "text/plain"),
    ("loas", "audio/aac"),
    ("m3u", "application/vnd.apple.mpegurl"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("mif", "application/x-mif"),
    ("mjs", "application/javascript"),
    ("o", "application/octet-stream"),
    ("obj", "application/octet-stream"),
    ("opus", "audio/opus"),
    ("pl", "text/plain"),
    ("py", "text/x-python"),
    ("pyc", "application/x-python-code"),
    ("pyo", "application/x-python-code"),
    ("ram", "application/x-pn-realaudio"),
    ("rdf", "application/xml"),
    ("sgm", "text/x-sgml"),
    ("sgml", "text/x-sgml"),
    ("wav", "audio/x-wav"),
    ("wsdl", "application/xml"),
    ("xlb", "application/vnd.ms-excel"),
    ("xpdl", "application/xml"),
    ("xsl", "application/xml"),
];
