//! The command that an administrator of the tenant pastes into a shell.

use behalf_contract::ObjectIdentity;
use serde_json::json;

/// Maximum length of the name of a federated identity credential. It has at least 3 characters and never changes.
const MAX_NAME_LENGTH: usize = 120;

/// Maximum length of the command, as in the schema of the status.
const MAX_COMMAND_LENGTH: usize = 2048;

/// Returns the command that creates the federated identity credential, quoted for a POSIX shell, or `None` if it is longer
/// than the schema of the status allows.
pub(super) fn federated_credential(
    client_id: &str,
    object: &ObjectIdentity,
    issuer: &str,
    subject: &str,
    audience: &str,
) -> Option<String> {
    // The service account is in the subject; namespace and object let people distinguish credentials.
    let name: String = format!("behalf-{}-{}", object.namespace, object.name)
        .chars()
        .take(MAX_NAME_LENGTH)
        .collect();
    let parameters = json!({"name": name, "issuer": issuer, "subject": subject, "audiences": [audience]});
    let command = format!(
        "az ad app federated-credential create --id {} --parameters {}",
        quote(client_id),
        quote(&parameters.to_string())
    );
    (command.len() <= MAX_COMMAND_LENGTH).then_some(command)
}

/// Quotes any text as one word of a POSIX shell. A single quote in the text becomes `'\''`: the end of
/// the quoted text, an escaped quote, and the start of the next quoted text.
fn quote(text: &str) -> String {
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b':'));
    if plain {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn object() -> ObjectIdentity {
        ObjectIdentity {
            namespace: "mcp".to_owned(),
            name: "azure-devops".to_owned(),
        }
    }

    #[test]
    fn is_the_command_that_an_administrator_would_write() {
        let command = federated_credential(
            "22222222-2222-4222-8222-222222222222",
            &object(),
            "https://issuer.contoso.example/",
            "system:serviceaccount:mcp:azure-devops",
            "api://AzureADTokenExchange",
        );
        assert_eq!(
            command.unwrap(),
            r#"az ad app federated-credential create --id 22222222-2222-4222-8222-222222222222 --parameters '{"audiences":["api://AzureADTokenExchange"],"issuer":"https://issuer.contoso.example/","name":"behalf-mcp-azure-devops","subject":"system:serviceaccount:mcp:azure-devops"}'"#
        );
    }

    #[test]
    fn a_shell_reads_back_every_text_as_it_was() {
        for text in [
            "plain",
            "",
            "it's",
            "'",
            "''",
            "$(touch x) `id` \\ \" ; & | > < * ~ # !",
            "a\nb",
            "ü",
        ] {
            let output = Command::new("sh")
                .arg("-c")
                .arg(format!("printf %s {}", quote(text)))
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }

    /// Regression: `CVE-2025-62801`, a command that ran what a name contained.
    #[test]
    fn an_issuer_cannot_leave_its_quotes() {
        let issuer = "https://x/'; touch /tmp/x; echo '";
        let command = federated_credential("id", &object(), issuer, "subject", "audience").unwrap();
        let arguments = command.strip_prefix("az ").unwrap();
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("printf '%s\\n' {arguments}"))
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let parameters: serde_json::Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
        assert_eq!(parameters["issuer"], issuer);
    }
}
