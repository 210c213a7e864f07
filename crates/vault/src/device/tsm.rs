//! configfs-tsm (Linux `Documentation/ABI/testing/configfs-tsm-report`): a folder is made, bytes are written to `inblob`, and the
//! report is read from `outblob`. `generation` counts writes, so that a report over somebody else's bytes is noticed.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::{Device, DeviceError, Evidence, checked};

/// A report with a table of certificates is some pages long.
const MOST_BYTES: u64 = 1 << 20;

/// Makes or removes the folder of one report.
type Change = fn(&Path) -> io::Result<()>;

/// The kernel's folder of reports.
#[derive(Debug)]
pub struct Tsm {
    folder: PathBuf,
    make: Change,
    remove: Change,
}

impl Tsm {
    /// The folder at `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, make: |path| fs::create_dir(path), remove: |path| fs::remove_dir(path) }
    }

    /// The same with other ways to make and remove a report's folder: an ordinary file system does not fill it.
    #[cfg(test)]
    pub(super) fn with(folder: PathBuf, make: Change, remove: Change) -> Self {
        Self { folder, make, remove }
    }

    fn ask(&self, entry: &Path, data: &[u8; 64]) -> Result<Evidence, DeviceError> {
        let failed = |what| move |source| DeviceError::System { device: self.name(), what, source };
        let provider = text(&entry.join("provider")).map_err(failed("reading its provider"))?;
        if provider != "sev_guest" {
            return Err(DeviceError::Provider { device: self.name(), provider });
        }
        let mut inblob = fs::OpenOptions::new()
            .write(true)
            .open(entry.join("inblob"))
            .map_err(failed("asking for a report"))?;
        // One write: the kernel takes what comes at once as the whole.
        inblob.write_all(data).map_err(failed("asking for a report"))?;
        drop(inblob);
        let generation = || text(&entry.join("generation"));
        let before = generation().map_err(failed("reading its generation"))?;
        let report = bytes(&entry.join("outblob")).map_err(failed("reading the report"))?;
        // A host that has no certificates gives none, and some kernels have no such file.
        let certificates = match bytes(&entry.join("auxblob")) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed("reading the host's certificates")(error)),
        };
        if generation().map_err(failed("reading its generation"))? != before {
            return Err(DeviceError::Meanwhile { device: self.name() });
        }
        checked(self, Evidence { report, certificates }, data)
    }
}

impl Device for Tsm {
    fn report(&self, report_data: &[u8; 64]) -> Result<Evidence, DeviceError> {
        // A name of our own, so that nobody else writes to this report.
        let entry = self.folder.join(format!("chorion-{}", uuid::Uuid::new_v4().simple()));
        (self.make)(&entry).map_err(|source| DeviceError::System {
            device: self.name(),
            what: "making a report",
            source,
        })?;
        let asked = self.ask(&entry, report_data);
        let removed = (self.remove)(&entry).map_err(|source| DeviceError::System {
            device: self.name(),
            what: "removing a report",
            source,
        });
        let evidence = asked?;
        removed?;
        Ok(evidence)
    }

    fn name(&self) -> String {
        self.folder.display().to_string()
    }
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&bytes(path)?).trim().to_owned())
}
