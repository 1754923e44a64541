//! The shell commands of the pages of the documentation. Each block says whether a test runs it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use behalf_local_cluster::Call;
use behalf_local_cluster::cluster::Cluster;
use behalf_local_cluster::files::{cache, checkout};

/// The mark of blocks that a test runs, after the language of a fence.
const RUN: &str = "run";

/// The mark of the other blocks; the reason follows.
const NOT_RUN: &str = "not-run: ";

/// A block of shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The heading of its section.
    pub title: String,

    /// The line of its fence.
    pub line: usize,

    /// Why it is not run on a cluster of tests. Absent: it is run.
    pub reason: Option<String>,

    /// Its text.
    pub script: String,
}

/// The commands of one section that a test runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The heading.
    pub title: String,

    /// A script for Bash. It prints the line of each block before the block runs.
    pub script: String,
}

/// Why the commands of a page cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CommandsError {
    /// The page cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The page.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },

    /// A block of shell has no mark.
    #[error("{page}:{line}: write ```sh run, or ```sh not-run: and the reason")]
    Unmarked {
        /// The page.
        page: String,
        /// The line of the fence.
        line: usize,
    },
}

/// Reads the blocks of shell of a page. `page` is a path in the checkout.
pub fn blocks(page: &str) -> Result<Vec<Block>, CommandsError> {
    let path = checkout().join(page);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(page, &text),
        Err(source) => Err(CommandsError::Read { path, source }),
    }
}

/// Reads the sections of a page that have commands to run, in their order.
pub fn sections(page: &str) -> Result<Vec<Section>, CommandsError> {
    Ok(join(page, blocks(page)?))
}

/// A call of Bash that runs a script as a reader does: with the kubectl and the helm of the cluster, the kubeconfig of an
/// administrator, and in this folder.
pub fn shell(cluster: &Cluster, folder: &Path, script: &str) -> Call {
    let clients = cluster.clients();
    let own: BTreeSet<_> = [clients.kubectl(), clients.helm()]
        .into_iter()
        .filter_map(Path::parent)
        .map(Path::to_owned)
        .collect();
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(own.into_iter().chain(std::env::split_paths(&inherited)));
    Call::new("bash")
        .args(["-e", "-u", "-o", "pipefail", "-c", script])
        .env("PATH", path.unwrap_or(inherited))
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("KUBECACHEDIR", cache().join("kubectl"))
        .env("TMPDIR", folder)
        .directory(folder)
}

/// Makes one script of the blocks of each section that are run.
fn join(page: &str, blocks: Vec<Block>) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for block in blocks.into_iter().filter(|block| block.reason.is_none()) {
        let script = format!("echo '== {page}:{}' >&2\n{}", block.line, block.script);
        match sections.last_mut().filter(|section| section.title == block.title) {
            Some(section) => section.script.push_str(&script),
            None => sections.push(Section {
                title: block.title,
                script,
            }),
        }
    }
    sections
}

fn parse(page: &str, text: &str) -> Result<Vec<Block>, CommandsError> {
    let mut blocks = Vec::new();
    let mut title = "";
    // Inside a fence: the block, if it is one of shell.
    let mut open: Option<Option<Block>> = None;
    for (line, content) in (1..).zip(text.lines()) {
        // A block may belong to an entry of a list.
        match (open.take(), content.trim_start().strip_prefix("```")) {
            (None, Some(info)) => {
                let fence = fence(info).ok_or_else(|| unmarked(page, line))?;
                open = Some(fence.block(title, line));
            }
            (Some(block), Some(_)) => blocks.extend(block),
            (Some(block), None) => {
                open = Some(block.map(|mut block| {
                    block.script.push_str(content);
                    block.script.push('\n');
                    block
                }));
            }
            (None, None) => title = content.strip_prefix("## ").unwrap_or(title),
        }
    }
    Ok(blocks)
}

/// The language and the mark behind the fence that opens a block.
enum Fence {
    Other,
    Run,
    NotRun(String),
}

impl Fence {
    fn block(self, title: &str, line: usize) -> Option<Block> {
        let reason = match self {
            Self::Other => return None,
            Self::Run => None,
            Self::NotRun(reason) => Some(reason),
        };
        Some(Block {
            title: title.to_owned(),
            line,
            reason,
            script: String::new(),
        })
    }
}

/// Reads a fence. `None` if it is one of shell and does not say whether the block is run.
fn fence(info: &str) -> Option<Fence> {
    match info.strip_prefix("sh").map(str::trim_start) {
        None => Some(Fence::Other),
        Some(RUN) => Some(Fence::Run),
        Some(mark) => mark
            .strip_prefix(NOT_RUN)
            .filter(|reason| !reason.is_empty())
            .map(|reason| Fence::NotRun(reason.to_owned())),
    }
}

fn unmarked(page: &str, line: usize) -> CommandsError {
    CommandsError::Unmarked {
        page: page.to_owned(),
        line,
    }
}

#[cfg(test)]
mod tests {
    use behalf_local_cluster::Call;

    use super::*;

    const PAGE: &str = "\
# Page
## First
```sh run
one
```
```yaml
two: 2
```
```sh not-run: needs Azure
three
```
## Second
text
## Third
```sh run
four \\
  five
```
```sh run
six
```
";

    #[test]
    fn the_marked_blocks_of_each_section_are_one_script() {
        let section = |title: &str, script: &str| Section {
            title: title.to_owned(),
            script: script.to_owned(),
        };
        let expected = [
            section("First", "echo '== docs/page.md:3' >&2\none\n"),
            section(
                "Third",
                "echo '== docs/page.md:15' >&2\nfour \\\n  five\necho '== docs/page.md:19' >&2\nsix\n",
            ),
        ];
        let page = "docs/page.md";
        assert_eq!(join(page, parse(page, PAGE).unwrap()), expected);
    }

    #[test]
    fn a_block_that_is_not_run_has_its_reason() {
        let blocks = parse("docs/page.md", PAGE).unwrap();
        let not_run: Vec<_> = blocks.iter().filter(|block| block.reason.is_some()).collect();
        let expected = Block {
            title: "First".to_owned(),
            line: 9,
            reason: Some("needs Azure".to_owned()),
            script: "three\n".to_owned(),
        };
        assert_eq!(not_run, [&expected]);
    }

    #[test]
    fn a_block_of_shell_without_a_mark_or_without_a_reason_is_refused() {
        for info in ["sh", "sh not-run:", "sh not-run: ", "sh sometimes"] {
            let error = parse("docs/page.md", &format!("# Page\n\n```{info}\none\n```\n")).unwrap_err();
            assert!(
                error.to_string().starts_with("docs/page.md:3: "),
                "{info}: {error}"
            );
        }
    }

    #[test]
    fn a_block_in_an_entry_of_a_list_is_a_block() {
        let text = "1. First\n\n   ```sh\n   one\n   ```\n";
        let error = parse("docs/page.md", text).unwrap_err();
        assert!(error.to_string().starts_with("docs/page.md:3: "), "{error}");
    }

    /// The files below a folder of the checkout with this extension, as paths in the checkout.
    fn files(folder: &str, extension: &str) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(checkout().join(folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                found.extend(files(&path, extension));
            } else if Path::new(&path)
                .extension()
                .is_some_and(|known| known == extension)
            {
                found.push(path);
            }
        }
        found
    }

    /// All pages of the documentation.
    fn pages() -> Vec<String> {
        let folders = ["docs", "charts", "examples"];
        let mut all: Vec<String> = folders.iter().flat_map(|folder| files(folder, "md")).collect();
        all.push("README.md".to_owned());
        assert!(all.len() > 40, "{all:?}");
        all
    }

    #[test]
    fn a_suite_names_every_page_that_has_blocks_for_it_to_run() {
        let folders =
            ["black_box", "gitops", "installing"].map(|suite| format!("tests/suites/tests/{suite}"));
        let sources: String = folders
            .iter()
            .flat_map(|folder| files(folder, "rs"))
            .map(|path| std::fs::read_to_string(checkout().join(path)).unwrap())
            .collect();
        let mut with_commands = pages();
        with_commands.retain(|page| !sections(page).unwrap().is_empty());
        assert!(with_commands.len() >= 8, "{with_commands:?}");
        with_commands.retain(|page| !sources.contains(&format!("\"{page}\"")));
        assert_eq!(
            with_commands,
            Vec::<String>::new(),
            "no suite runs their commands"
        );
    }

    #[test]
    fn every_block_of_shell_says_whether_a_test_runs_it_and_bash_understands_those_that_one_runs() {
        let mut run = 0;
        for page in &pages() {
            for Section { title, script } in sections(page).unwrap() {
                run += 1;
                let checked = Call::new("bash").arg("-n").input(script).run();
                checked.unwrap_or_else(|error| panic!("{page}, {title}: {error}"));
            }
        }
        assert!(run >= 21, "a test runs the commands of only {run} sections");
    }
}
