//! The shell commands of the pages of the documentation. Each block says whether a test runs it.

use std::path::PathBuf;

use behalf_local_cluster::files::checkout;

/// The mark of blocks that a test runs, after the language of a fence.
const RUN: &str = "run";

/// The mark of the other blocks; the reason follows.
const NOT_RUN: &str = "not-run: ";

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

/// Reads the sections of a page that have commands to run, in their order. `page` is a path in the checkout.
pub fn sections(page: &str) -> Result<Vec<Section>, CommandsError> {
    let path = checkout().join(page);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(page, &text),
        Err(source) => Err(CommandsError::Read { path, source }),
    }
}

fn parse(page: &str, text: &str) -> Result<Vec<Section>, CommandsError> {
    let mut sections: Vec<Section> = Vec::new();
    let mut title = "";
    // Inside a block: whether its commands are run.
    let mut block = None;
    for (line, content) in (1..).zip(text.lines()) {
        // A block may belong to an entry of a list.
        match (block, content.trim_start().strip_prefix("```")) {
            (None, Some(info)) => block = Some(is_run(info).ok_or_else(|| unmarked(page, line))?),
            (Some(_), Some(_)) => block = None,
            (Some(true), None) => {}
            (Some(false), None) => continue,
            (None, None) => {
                title = content.strip_prefix("## ").unwrap_or(title);
                continue;
            }
        }
        if block != Some(true) {
            continue;
        }
        if sections.last().is_none_or(|section| section.title != title) {
            sections.push(Section {
                title: title.to_owned(),
                script: String::new(),
            });
        }
        if let Some(section) = sections.last_mut() {
            let command = if content.trim_start().starts_with("```") {
                format!("echo '== {page}:{line}' >&2")
            } else {
                content.to_owned()
            };
            section.script.push_str(&command);
            section.script.push('\n');
        }
    }
    Ok(sections)
}

/// Whether a block is run, by what follows its fence. `None` if it is shell and says neither.
fn is_run(info: &str) -> Option<bool> {
    match info.strip_prefix("sh").map(str::trim_start) {
        None => Some(false),
        Some(RUN) => Some(true),
        Some(mark) => mark
            .strip_prefix(NOT_RUN)
            .is_some_and(|reason| !reason.is_empty())
            .then_some(false),
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
        assert_eq!(parse("docs/page.md", PAGE).unwrap(), expected);
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

    /// The pages below a folder of the checkout, as paths in the checkout.
    fn pages(folder: &str) -> Vec<String> {
        let mut pages = Vec::new();
        for entry in std::fs::read_dir(checkout().join(folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                pages.extend(self::pages(&path));
            } else if std::path::Path::new(&path)
                .extension()
                .is_some_and(|extension| extension == "md")
            {
                pages.push(path);
            }
        }
        pages
    }

    #[test]
    fn every_block_of_shell_says_whether_a_test_runs_it_and_bash_understands_those_that_one_runs() {
        let mut all: Vec<String> = ["docs", "charts", "examples"]
            .into_iter()
            .flat_map(pages)
            .collect();
        all.push("README.md".to_owned());
        assert!(all.len() > 40, "{all:?}");
        let mut run = 0;
        for page in &all {
            for Section { title, script } in sections(page).unwrap() {
                run += 1;
                let checked = Call::new("bash").arg("-n").input(script).run();
                checked.unwrap_or_else(|error| panic!("{page}, {title}: {error}"));
            }
        }
        assert!(run >= 11, "a test runs the commands of only {run} sections");
    }
}
