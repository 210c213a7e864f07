//! Where a facility is: a directory, or a prefix in a bucket. What a person writes after `--facility`.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use crate::{
    blocking,
    bucket::{BucketAddress, BucketAddressError, BucketFacility},
    directory::DirectoryFacility,
    facility::{Facility, FacilityError, FacilityId},
};

/// Where a facility is. Its text may be shown and logged: no secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FacilityAddress {
    /// In a directory of this machine.
    Directory(PathBuf),
    /// In an S3-compatible object store.
    Bucket(BucketAddress),
}

impl FacilityAddress {
    /// The directory, if it is one.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Bucket(_) => None,
        }
    }

    /// Makes a facility where nothing is yet, or opens the one that is there.
    ///
    /// # Errors
    /// If there is something else, or the place does not answer.
    pub async fn open_or_create(&self) -> Result<Arc<dyn Facility>, FacilityError> {
        match self {
            Self::Directory(path) => {
                let looked_at = path.clone();
                let is_used = blocking(move || {
                    std::fs::read_dir(looked_at).is_ok_and(|mut entries| entries.next().is_some())
                });
                if is_used.await {
                    Ok(Arc::new(DirectoryFacility::open(path).await?))
                } else {
                    Ok(Arc::new(DirectoryFacility::create(path).await?))
                }
            }
            Self::Bucket(address) => {
                if BucketFacility::is_used(address).await? {
                    Ok(Arc::new(BucketFacility::open(address).await?))
                } else {
                    Ok(Arc::new(BucketFacility::create(address).await?))
                }
            }
        }
    }

    /// The facility that was here before. One that is away is waited for; nothing is made.
    ///
    /// # Errors
    /// If the address cannot be used at all.
    pub async fn expect(&self, id: FacilityId) -> Result<Arc<dyn Facility>, FacilityError> {
        Ok(match self {
            Self::Directory(path) => Arc::new(DirectoryFacility::expect(path, id).await),
            Self::Bucket(address) => Arc::new(BucketFacility::expect(address, id).await?),
        })
    }
}

impl FromStr for FacilityAddress {
    type Err = BucketAddressError;

    /// What begins with `s3://` is a bucket, everything else a path.
    fn from_str(text: &str) -> Result<Self, BucketAddressError> {
        if text.contains("://") {
            BucketAddress::parse(text).map(Self::Bucket)
        } else {
            Ok(Self::Directory(text.into()))
        }
    }
}

impl From<PathBuf> for FacilityAddress {
    fn from(path: PathBuf) -> Self {
        Self::Directory(path)
    }
}

impl fmt::Display for FacilityAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Bucket(address) => address.fmt(f),
        }
    }
}
