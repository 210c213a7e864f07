//! How fast a sealed object opens in memory, on one core: MiB a second, the median of nine rounds over 16 MiB.

#![expect(clippy::print_stdout, reason = "a program prints what it measured")]

use std::time::Instant;

use seal::{DataKey, ObjectId, open_object, seal_object};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (key, id) = (DataKey::generate()?, ObjectId::generate()?);
    let (sealed, _) = seal_object(&key, id, &vec![7; 15 << 20])?;
    let mut rates = Vec::new();
    for _ in 0..9 {
        let began = Instant::now();
        for _ in 0..8 {
            std::hint::black_box(open_object(&key, id, &sealed)?);
        }
        rates.push(8.0 * 15.0 / began.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    println!("{:.0}", rates[4]);
    Ok(())
}
