//! The files a report goes to, opened before the run: nobody wants to lose ten minutes to a typing error.
//!
//! A file that was there keeps its content until the new one is written; one that was not is removed
//! again if the run comes to nothing.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::page::Page;

/// Where a report goes beside stdout.
#[derive(Debug)]
pub struct Outputs {
    json: Option<Output>,
    page: Option<Output>,
}

impl Outputs {
    /// Opens both files for writing, those that are asked for.
    ///
    /// # Errors
    ///
    /// One cannot be opened, or both are the same: a sentence with the path.
    pub fn open(json: Option<&Path>, page: Option<&Path>) -> Result<Self, String> {
        if let (Some(json), Some(page)) = (json, page)
            && json == page
        {
            return Err(format!("--json and --report both name {}", page.display()));
        }
        Ok(Self { json: json.map(Output::open).transpose()?, page: page.map(Output::open).transpose()? })
    }

    /// Writes `report` as JSON, indented, and `page` as HTML, each ending in a newline.
    ///
    /// # Errors
    ///
    /// A file cannot be written: a sentence with its path. The other one is written all the same.
    pub fn write(self, report: &impl Serialize, page: &Page) -> Result<(), String> {
        let json = self.json.map_or(Ok(()), |output| {
            let text = serde_json::to_string_pretty(report).map_err(|error| output.said(&error))?;
            output.write(&text)
        });
        let page = self.page.map_or(Ok(()), |output| output.write(&page.render()));
        json.and(page)
    }
}

/// One file, open.
#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: File,
    /// It was made by us and holds nothing yet.
    is_ours_and_empty: bool,
}

impl Output {
    fn open(path: &Path) -> Result<Self, String> {
        let is_ours_and_empty = !path.exists();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        Ok(Self { path: path.to_owned(), file, is_ours_and_empty })
    }

    fn said(&self, error: &dyn std::fmt::Display) -> String {
        format!("{} cannot be written: {error}", self.path.display())
    }

    fn write(mut self, text: &str) -> Result<(), String> {
        // A pipe or a terminal has no length, and then there is none to set.
        let is_regular = self.file.metadata().is_ok_and(|metadata| metadata.is_file());
        let emptied = if is_regular { self.file.set_len(0) } else { Ok(()) };
        emptied.and_then(|()| writeln!(self.file, "{text}")).map_err(|error| self.said(&error))?;
        self.is_ours_and_empty = false;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.is_ours_and_empty {
            // Somebody else may have removed it already, which is just as well.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::Origin;

    fn page() -> Page {
        Page::new("title", "subtitle", Origin::now("ws://127.0.0.1:1/", 1, 0))
    }

    /// A path of its own for each test.
    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("throng-output-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_before_anything_is_measured() {
        let directory = scratch("refused");
        let missing = directory.join("missing/report.html");
        assert!(Outputs::open(None, Some(&missing)).unwrap_err().contains("missing/report.html"));
        assert!(Outputs::open(Some(&directory), None).unwrap_err().contains("cannot be written"));
        let same = directory.join("same");
        assert!(Outputs::open(Some(&same), Some(&same)).unwrap_err().contains("both name"));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn an_older_report_stays_until_the_new_one_is_there_and_is_replaced_whole() {
        let directory = scratch("older");
        let (json, html) = (directory.join("a.json"), directory.join("a.html"));
        fs::write(&json, "x".repeat(100)).unwrap();
        let outputs = Outputs::open(Some(&json), Some(&html)).unwrap();
        assert_eq!(fs::read_to_string(&json).unwrap().len(), 100);
        outputs.write(&7, &page()).unwrap();
        assert_eq!(fs::read_to_string(&json).unwrap(), "7\n");
        assert!(fs::read_to_string(&html).unwrap().ends_with("</html>\n"));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_run_that_comes_to_nothing_leaves_no_empty_file() {
        let directory = scratch("nothing");
        let html = directory.join("a.html");
        let outputs = Outputs::open(None, Some(&html)).unwrap();
        assert!(html.exists());
        drop(outputs);
        assert!(!html.exists());
        fs::remove_dir_all(directory).unwrap();
    }
}
