//! The MIME type of a URI from the extension of its file name, as Python 3.10's `mimetypes` guesses it.

/// The MIME type that a URI's extension stands for, or that a `data:` URI names.
pub(super) fn guess(uri: &str) -> Option<String> {
    let path = match uri.split_once(':') {
        Some((scheme, data)) if scheme.eq_ignore_ascii_case("data") => return data_type(data),
        Some((scheme, rest)) if !scheme.is_empty() && !scheme.contains('/') => rest,
        _ => uri,
    };
    of_extension(extension(path)?)
}

/// The type that `data:TYPE;...,...` names: plain text if it names none.
fn data_type(data: &str) -> Option<String> {
    let (head, _) = data.split_once(',')?;
    let named = head.split_once(';').map_or(head, |(named, _)| named);
    let is_type = named.contains('/') && !named.contains('=');
    Some(if is_type { named } else { "text/plain" }.to_owned())
}

/// The extension that counts, without its dot: behind a compression's stands the file's own.
fn extension(path: &str) -> Option<&str> {
    let (base, extension) = split(path)?;
    match extension.to_ascii_lowercase().as_str() {
        "svgz" => return Some("svg"),
        "tgz" | "taz" | "tz" | "tbz2" | "txz" => return Some("tar"),
        _ => {}
    }
    if matches!(extension, "gz" | "Z" | "bz2" | "xz" | "br") {
        return split(base).map(|(_, inner)| inner);
    }
    Some(extension)
}

/// The last part of a path before and behind its last dot; dots at its start do not count.
fn split(path: &str) -> Option<(&str, &str)> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (base, extension) = name.rsplit_once('.')?;
    let has_name = base.bytes().any(|b| b != b'.');
    has_name.then_some((base, extension))
}

fn of_extension(extension: &str) -> Option<String> {
    let lower = extension.to_ascii_lowercase();
    // Python has compressions for encodings of something, not for types.
    if matches!(lower.as_str(), "gz" | "z" | "bz2" | "xz" | "br") {
        return None;
    }
    let python = PYTHON.iter().find(|(known, _)| *known == lower);
    let guess = python.map(|(_, mime)| *mime);
    guess
        .or_else(|| mime_guess::from_ext(&lower).first_raw())
        .map(str::to_owned)
}

/// Where Python's own table, which is all that Jina's image has, says something else than the crate's.
const PYTHON: [(&str, &str); 38] = [
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
