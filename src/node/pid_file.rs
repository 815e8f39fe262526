//! `pid_file`: the process id in a file, for as long as the node runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

/// Removed when it is dropped. A process that was killed leaves it behind: who reads it checks that
/// the process is there.
pub struct PidFile(PathBuf);

impl PidFile {
    /// Errors: the file can't be written; the text names it.
    pub fn write(path: &Path) -> io::Result<PidFile> {
        fs::write(path, format!("{}\n", process::id()))
            .map_err(|error| io::Error::new(error.kind(), format!("pid_file: {}: {error}", path.display())))?;
        Ok(PidFile(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // In a rolling restart the next process may have written its own already.
        if fs::read_to_string(&self.0).is_ok_and(|text| text.trim() != process::id().to_string()) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(file = %self.0.display(), %error, "pid_file can't be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_as_long_as_the_node() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fanfare.pid");
        let file = PidFile::write(&path).expect("the folder is there");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), format!("{}\n", process::id()));
        drop(file);
        assert!(!path.exists());

        let file = PidFile::write(&path).expect("the folder is there");
        fs::write(&path, "1\n").expect("the folder is there");
        drop(file);
        assert!(path.exists(), "it is the next process's");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = PidFile::write(Path::new("/no/such/folder/pid")).err().expect("no folder");
        assert!(error.to_string().starts_with("pid_file: /no/such/folder/pid: "), "{error}");
    }
}
