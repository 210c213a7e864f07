//! runfolder
