//! Why a run cannot be demultiplexed, and where in it.

use std::fmt;
use std::io;

use crate::inflate::Damage;

/// A place in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The lane.
    pub lane: u32,
    /// The tile, where it is one tile's matter.
    pub tile: Option<u32>,
    /// The cycle, where it is one cycle's matter, counted from 1 over all reads.
    pub cycle: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tile) = self.tile {
            write!(f, "tile {tile} of ")?;
        }
        write!(f, "lane {}", self.lane)?;
        self.cycle.map_or(Ok(()), |cycle| write!(f, ", cycle {cycle}"))
    }
}

/// Why a run could not be demultiplexed. Nothing is filled in for what is missing, unless that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum DemuxError {
    /// The folder cannot be listed.
    #[error("the run folder cannot be listed")]
    List(#[source] io::Error),
    /// More files than any run has.
    #[error("the run folder has {0} files, more than a run has")]
    TooManyFiles(usize),
    /// No lane to work on.
    #[error(
        "the run folder has no lane to demultiplex: there is nothing under Data/Intensities/BaseCalls"
    )]
    NoLanes,
    /// A lane that is not there.
    #[error("lane {0} has no base calls in the run folder")]
    NoLane(u32),
    /// A lane without the files of its first cycle.
    #[error("lane {lane} has no base calls of cycle {cycle} in a format that is known")]
    NoCalls {
        /// The lane.
        lane: u32,
        /// The cycle.
        cycle: u32,
    },
    /// A tile that RunInfo lists and the folder lacks.
    #[error(
        "tile {tile} of lane {lane} is listed in RunInfo.xml, but the run folder does not have it"
    )]
    NoTile {
        /// The lane.
        lane: u32,
        /// The tile.
        tile: u32,
    },
    /// More tiles than a lane has.
    #[error("lane {lane} has {tiles} tiles, more than a lane has")]
    TooManyTiles {
        /// The lane.
        lane: u32,
        /// Its tiles.
        tiles: usize,
    },
    /// A tile without positions.
    #[error(
        "tile {tile} of lane {lane} has no positions: there is no s.locs, .locs or .clocs for it"
    )]
    NoPositions {
        /// The lane.
        lane: u32,
        /// The tile.
        tile: u32,
    },
    /// A file that is not there.
    #[error("{place}: {path} is missing")]
    Missing {
        /// What it is needed for.
        place: Place,
        /// The file.
        path: String,
    },
    /// A file that is not whole.
    #[error("{place}: {path} cannot be used: {damage}")]
    Damaged {
        /// Where the damage shows.
        place: Place,
        /// The file.
        path: String,
        /// What is wrong with it.
        damage: Damage,
    },
    /// An output that could not be written.
    #[error("{path} cannot be written")]
    Output {
        /// The file.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// What was left out or became N, where going on was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The lane, the tile, and the cycle that became N; without a cycle the tile was left out, without a tile all of them.
    pub place: Place,
    /// The file.
    pub path: String,
    /// What is wrong with it, to go on from the file's name.
    pub reason: String,
}

impl Missing {
    pub(crate) fn of(place: Place, path: &str, damage: &Damage) -> Self {
        Self { place, path: path.to_owned(), reason: damage.to_string() }
    }
}

/// What is missing, as far as it is told one by one.
#[derive(Debug, Default)]
pub(crate) struct MissingList {
    told: Vec<Missing>,
    more: u64,
}

/// What is told one by one.
const TOLD_MISSING: usize = 10_000;

impl MissingList {
    pub(crate) fn add(&mut self, missing: Missing) {
        if self.told.len() < TOLD_MISSING {
            self.told.push(missing);
        } else {
            self.more += 1;
        }
    }

    /// What is told, and how many others there are.
    pub(crate) fn into_parts(self) -> (Vec<Missing>, u64) {
        (self.told, self.more)
    }
}
