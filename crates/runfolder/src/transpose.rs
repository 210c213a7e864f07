//! From cycles of clusters to clusters of cycles.
//!
//! Calls arrive as one line per cycle; text is written per cluster. Eight cycles of eight clusters are turned at once inside
//! eight words, in three rounds of exchanging halves (Hacker's Delight 7-3), which needs no particular processor.

/// Writes the clusters from `first` on, as many as `rows` has room for, one row of all `cycles` after another.
pub(crate) fn transpose(cycles: &[&[u8]], first: usize, rows: &mut [u8]) {
    let stride = cycles.len();
    let clusters = rows.len() / stride;
    let whole_clusters = clusters & !7;
    let whole_cycles = stride & !7;
    for column in (0..whole_cycles).step_by(8) {
        for cluster in (0..whole_clusters).step_by(8) {
            let mut words = [0u64; 8];
            for (word, calls) in words.iter_mut().zip(&cycles[column..column + 8]) {
                let eight = calls[first + cluster..].first_chunk::<8>();
                *word = u64::from_le_bytes(*eight.expect("eight clusters are there as counted"));
            }
            turn(&mut words);
            for (word, row) in words.iter().zip(rows[cluster * stride..].chunks_mut(stride)) {
                row[column..column + 8].copy_from_slice(&word.to_le_bytes());
            }
        }
    }
    for (column, calls) in cycles.iter().enumerate() {
        let done = if column < whole_cycles { whole_clusters } else { 0 };
        for cluster in done..clusters {
            rows[cluster * stride + column] = calls[first + cluster];
        }
    }
}

/// Transposes eight words of eight bytes.
fn turn(words: &mut [u64; 8]) {
    for (distance, shift, mask) in [
        (1, 8, 0x00ff_00ff_00ff_00ff),
        (2, 16, 0x0000_ffff_0000_ffff),
        (4, 32, 0x0000_0000_ffff_ffff),
    ] {
        for low in (0..8).filter(|i| i & distance == 0) {
            let high = low + distance;
            let exchanged = (words[low] >> shift ^ words[high]) & mask;
            words[high] ^= exchanged;
            words[low] ^= exchanged << shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_lands_in_its_cluster_s_row() {
        for stride in [1, 7, 8, 9, 31] {
            let calls: Vec<Vec<u8>> = (0..stride)
                .map(|cycle| {
                    (0..100)
                        .map(|cluster| u8::try_from((cycle * 41 + cluster * 7) % 251).unwrap())
                        .collect()
                })
                .collect();
            let cycles: Vec<&[u8]> = calls.iter().map(|c| &c[..]).collect();
            for (first, clusters) in [(0, 100), (3, 8), (5, 17), (99, 1), (50, 0)] {
                let mut rows = vec![0; clusters * stride];
                transpose(&cycles, first, &mut rows);
                for cluster in 0..clusters {
                    for cycle in 0..stride {
                        assert_eq!(rows[cluster * stride + cycle], calls[cycle][first + cluster]);
                    }
                }
            }
        }
    }
}
