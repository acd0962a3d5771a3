//! Copies of what an old data directory holds beside its member: etcd's own certificates, say.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use crate::error::{Error, Result};

/// Permissions without the kind of file.
const PERMISSIONS: u32 = 0o7777;

/// Copies each of `names` that is there from `old` into `new`, with its permissions; gives those that were.
pub(super) fn over<'a>(old: &Path, new: &Path, names: &'a [String]) -> Result<Vec<&'a str>> {
    let mut carried = Vec::new();
    for name in names {
        if copy(&old.join(name), &new.join(name))? {
            carried.push(name.as_str());
        }
    }
    Ok(carried)
}

/// Copies a file, a link, or a directory with all below it; `false` where there is none.
fn copy(from: &Path, to: &Path) -> Result<bool> {
    let metadata = match fs::symlink_metadata(from) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        metadata => metadata.map_err(Error::io("looking at", from))?,
    };
    let mode = metadata.mode() & PERMISSIONS;
    if metadata.is_symlink() {
        let target = fs::read_link(from).map_err(Error::io("reading", from))?;
        symlink(target, to).map_err(Error::io("creating", to))?;
    } else if metadata.is_dir() {
        DirBuilder::new().mode(0o700).create(to).map_err(Error::io("creating", to))?;
        for entry in fs::read_dir(from).map_err(Error::io("reading directory", from))? {
            let entry = entry.map_err(Error::io("reading directory", from))?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(Error::io("creating", to))?;
    } else if metadata.is_file() {
        let mut source = fs::File::open(from).map_err(Error::io("reading", from))?;
        // Nobody else may read a key while it is copied.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
        let mut file = file.map_err(Error::io("creating", to))?;
        io::copy(&mut source, &mut file).map_err(Error::io("copying", from))?;
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(Error::io("creating", to))?;
    } else {
        return Err(Error::invalid(format!("{} is neither a file nor a directory: move it away", from.display())));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_directories_and_links_come_over_with_their_permissions_and_what_is_missing_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        fs::create_dir_all(old.join("fixtures/client")).unwrap();
        fs::create_dir(&new).unwrap();
        fs::write(old.join("fixtures/client/key.pem"), b"key").unwrap();
        fs::set_permissions(old.join("fixtures/client/key.pem"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(old.join("fixtures"), fs::Permissions::from_mode(0o750)).unwrap();
        symlink("client", old.join("fixtures/link")).unwrap();
        let names = ["absent".to_owned(), "fixtures".to_owned()];

        assert_eq!(over(&old, &new, &names).unwrap(), ["fixtures"]);

        let key = new.join("fixtures/client/key.pem");
        assert_eq!(fs::read(&key).unwrap(), b"key");
        assert_eq!(key.metadata().unwrap().mode() & PERMISSIONS, 0o640);
        assert_eq!(new.join("fixtures").metadata().unwrap().mode() & PERMISSIONS, 0o750);
        assert_eq!(fs::read_link(new.join("fixtures/link")).unwrap(), Path::new("client"));
    }
}
