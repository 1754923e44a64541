//! `examples/clients`: the configuration of each client, and the redirect URIs that its page lists for each.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::fixture::World;

/// The address of the server in every example.
const URL: &str = "https://mcp.contoso.example/mcp";

/// Every configuration in JSON, and where its client reads the address of the server (RFC 6901).
const CONFIGURATIONS: [(&str, &str); 9] = [
    ("claude-code.json", "/mcpServers/azure-devops/url"),
    ("copilot-cli.json", "/mcpServers/azure-devops/url"),
    ("cursor.json", "/mcpServers/azure-devops/url"),
    ("gemini-cli.json", "/mcpServers/azure-devops/httpUrl"),
    ("mcp-remote.json", "/mcpServers/azure-devops/args/2"),
    ("opencode.json", "/mcp/servers/azure-devops/url"),
    ("vs-code.json", "/servers/azure-devops/url"),
    ("warp.json", "/mcpServers/azure-devops/url"),
    ("windsurf.json", "/mcpServers/azure-devops/serverUrl"),
];

/// The configuration of Codex, whole: it is the only one in TOML.
const CODEX: (&str, &str) = (
    "codex.toml",
    "[mcp_servers.azure-devops]\nurl = \"https://mcp.contoso.example/mcp\"\n",
);

/// One section of the page.
struct Example {
    client: String,

    /// A part in angle brackets is chosen by the client.
    redirect_uris: Vec<String>,
}

fn checkout() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(checkout().join(path)).unwrap()
}

/// The texts in backticks of a line.
fn quoted(line: &str) -> Vec<String> {
    line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The clients of the page: its sections that say which file configures the client.
fn examples() -> Vec<Example> {
    let page = read("examples/clients/README.md");
    let sections = page.split("\n## ").skip(1);
    sections
        .filter(|section| section.contains("\n- File: "))
        .map(|section| Example {
            client: section.lines().next().unwrap().to_owned(),
            redirect_uris: section
                .lines()
                .filter(|line| line.starts_with("- Redirect URIs"))
                .flat_map(quoted)
                .collect(),
        })
        .collect()
}

/// True when the page lists this redirect URI for some client.
pub(crate) fn lists(redirect_uri: &str) -> bool {
    let examples = examples();
    let mut listed = examples.iter().flat_map(|example| &example.redirect_uris);
    listed.any(|pattern| fits(pattern, redirect_uri))
}

/// Whether a redirect URI has this form. A part in angle brackets stands for one segment or a port.
fn fits(pattern: &str, redirect_uri: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('<') else {
        return pattern == redirect_uri;
    };
    let (_, after) = rest.split_once('>').unwrap();
    redirect_uri.strip_prefix(before).is_some_and(|chosen| {
        let end = chosen.find('/').unwrap_or(chosen.len());
        end > 0 && fits(after, &chosen[end..])
    })
}

/// A redirect URI of this form.
fn chosen(pattern: &str) -> String {
    pattern
        .replace("<port>", "51234")
        .replace("<connector>", "cr938-5fbehalf")
        .replace("<id>", "AbC-123_x")
        .replace("<name>", "azure-devops")
}

#[test]
fn each_configuration_has_the_address_of_the_server_where_its_client_reads_it() {
    let page = read("examples/clients/README.md");
    let folder = std::fs::read_dir(checkout().join("examples/clients")).unwrap();
    let files: BTreeSet<String> = folder
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    let known = CONFIGURATIONS.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(files, known.chain([CODEX.0.to_owned()]).collect());
    for name in &files {
        assert!(
            page.contains(&format!("[{name}]({name})")),
            "the page does not name {name}"
        );
    }
    for (name, pointer) in CONFIGURATIONS {
        let configuration: Value = serde_json::from_str(&read(&format!("examples/clients/{name}"))).unwrap();
        assert_eq!(configuration.pointer(pointer), Some(&json!(URL)), "{name}");
    }
    assert_eq!(read(&format!("examples/clients/{}", CODEX.0)), CODEX.1);
}

#[tokio::test]
async fn each_client_of_the_page_may_register_all_its_redirect_uris_at_once() {
    let world = World::start().await;
    let examples = examples();
    assert!(examples.len() >= 15, "the page has {} clients", examples.len());
    for Example {
        client,
        redirect_uris,
    } in examples
    {
        if client == "Windsurf" {
            assert!(redirect_uris.is_empty(), "they are known now: {redirect_uris:?}");
            continue;
        }
        let redirect_uris: Vec<String> = redirect_uris.iter().map(|pattern| chosen(pattern)).collect();
        let body = json!({"client_name": client, "redirect_uris": redirect_uris});
        let answer = world.post_json("/register", &body).await;
        assert_eq!(answer.status, 201, "{client}: {}", answer.body);
    }
}

#[test]
fn the_page_lists_the_redirect_uris_of_exactly_the_vendors_in_the_documentation() {
    let documentation = read("docs/clients.md");
    let table = documentation
        .split("\n## ")
        .find(|section| section.starts_with("Redirect URIs of clients"))
        .unwrap();
    let mut documented = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let columns: Vec<&str> = row.split('|').collect();
        let paths = quoted(columns[2]);
        for host in quoted(columns[1]).iter().filter(|_| !paths.is_empty()) {
            let origin = if host.contains("://") {
                host.clone()
            } else {
                format!("https://{host}")
            };
            documented.extend(paths.iter().map(|path| format!("{origin}{path}")));
        }
    }
    let listed: BTreeSet<String> = examples()
        .into_iter()
        .flat_map(|example| example.redirect_uris)
        .filter(|redirect_uri| !redirect_uri.starts_with("http://"))
        .collect();
    assert_eq!(listed, documented);
}
