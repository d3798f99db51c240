//! Parses the function in a `lambda://` address into the name, qualifier and region that Invoke takes.

/// One function, or one version or alias of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// The address in the Flow, for errors.
    pub(super) address: String,
    /// A name or an ARN, without the qualifier.
    pub(super) name: String,
    /// A version or an alias.
    pub(super) qualifier: Option<String>,
    /// The region in an ARN; `None` for a name.
    pub(super) region: Option<String>,
}

impl Function {
    /// Parses a name or an ARN, with or without a qualifier, that [`flowgate_config::Address`] has validated.
    pub(super) fn parse(text: &str) -> Self {
        let is_arn = text.starts_with("arn:");
        let unqualified_colons = if is_arn { ARN_COLONS } else { 0 };
        let (name, qualifier) = match text.rsplit_once(':') {
            Some((name, qualifier)) if text.matches(':').count() > unqualified_colons => {
                (name, Some(qualifier.to_owned()))
            }
            _ => (text, None),
        };
        Self {
            address: format!("lambda://{text}"),
            name: name.to_owned(),
            qualifier,
            region: text.split(':').nth(3).filter(|_| is_arn).map(str::to_owned),
        }
    }
}

/// Colons in `arn:aws:lambda:REGION:ACCOUNT:function:NAME`.
const ARN_COLONS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_arns_are_parsed() {
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:f";
        for (text, name, qualifier, region) in [
            ("f", "f", None, None),
            ("f:live", "f", Some("live"), None),
            ("f:$LATEST", "f", Some("$LATEST"), None),
            (arn, arn, None, Some("eu-west-1")),
            (&format!("{arn}:7"), arn, Some("7"), Some("eu-west-1")),
        ] {
            let function = Function::parse(text);
            assert_eq!(function.name, name);
            assert_eq!(function.qualifier.as_deref(), qualifier, "{text}");
            assert_eq!(function.region.as_deref(), region, "{text}");
            assert_eq!(function.address, format!("lambda://{text}"));
        }
    }
}
