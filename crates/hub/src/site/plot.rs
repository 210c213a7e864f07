//! Plots as SVG, drawn by the server: they need no script, print, and follow the page's colours.
//!
//! A [`Figure`] is a drawing and the table of what it shows. Every drawing is as wide as a phone (`viewBox` of 360 units), so
//! that its letters stay readable there; a wide page puts two side by side. Colours and line widths are classes of the style
//! sheet, because the policy of these pages takes no style from elsewhere. Whatever is drawn differs by more than colour, and
//! nothing in a drawing is only in the drawing: the table has it too.

use std::fmt::Write as _;

use super::words;

/// Width of every drawing, in units that are about a CSS pixel on a phone.
const WIDTH: f64 = 360.0;
/// Where the plot's own ground begins and ends.
const LEFT: f64 = 40.0;
const RIGHT: f64 = WIDTH - 8.0;
/// Height of one letter line.
const LINE: f64 = 14.0;
/// How many bars a drawing has; the table has more.
const MOST_BARS: usize = 24;
/// How many rows a table has.
const MOST_ROWS: usize = 400;

/// A drawing with its table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    /// What it shows.
    pub(super) title: &'static str,
    /// Its id on the page.
    pub(super) id: &'static str,
    /// The drawing: safe to put into a page, because every text in it was escaped here.
    pub(super) svg: String,
    /// Names of the table's columns.
    pub(super) columns: Vec<&'static str>,
    /// The table.
    pub(super) rows: Vec<Vec<String>>,
    /// How many rows more there are than the table has.
    pub(super) more: usize,
}

/// A bar with its name and what is written at its end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    /// Its name.
    pub(super) name: String,
    /// Its length.
    pub(super) value: f64,
    /// The value as people read it.
    pub(super) words: String,
}

/// A line of its own under a name: values one after the other, with gaps.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Strip {
    /// Its name.
    pub(super) name: String,
    /// What it runs through.
    pub(super) values: Vec<Option<f64>>,
}

/// Text in a drawing or an attribute of it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other if other.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

/// At most so many letters, the rest as three dots.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A drawing in the making.
struct Drawing(String);

impl Drawing {
    fn new(label: &str, height: f64) -> Self {
        let label = escaped(label);
        Self(format!(
            r#"<svg class="plot" role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}">"#
        ))
    }

    fn put(&mut self, part: std::fmt::Arguments<'_>) {
        self.0.write_fmt(part).expect("a string takes everything");
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.put(format_args!(
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        ));
    }

    fn text(&mut self, class: &str, at: (f64, f64), text: &str) {
        let (text, (x, y)) = (escaped(text), at);
        self.put(format_args!(r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#));
    }

    /// A line through points; a gap begins another one, and a point alone is a dot.
    fn path(&mut self, points: impl Iterator<Item = Option<(f64, f64)>>) {
        let mut path = String::new();
        let (mut is_open, mut alone) = (false, None);
        let mut dots = Vec::new();
        for point in points.chain([None]) {
            match point {
                Some((x, y)) => {
                    write!(path, "{}{x:.1} {y:.1}", if is_open { "L" } else { "M" })
                        .expect("a string takes everything");
                    alone = (!is_open).then_some((x, y));
                    is_open = true;
                }
                None => {
                    dots.extend(alone.take());
                    is_open = false;
                }
            }
        }
        if !path.is_empty() {
            self.put(format_args!(r#"<path class="stroke" d="{path}"/>"#));
        }
        for (x, y) in dots {
            self.put(format_args!(r#"<circle class="dot" cx="{x:.1}" cy="{y:.1}" r="2"/>"#));
        }
    }

    fn done(mut self) -> String {
        self.0.push_str("</svg>");
        self.0
    }
}

/// A table of at most [`MOST_ROWS`] rows, and how many were left out.
fn table(mut rows: Vec<Vec<String>>) -> (Vec<Vec<String>>, usize) {
    let more = rows.len().saturating_sub(MOST_ROWS);
    rows.truncate(MOST_ROWS);
    (rows, more)
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1} %"))
}

/// Percentages over cycles: `breaks` are the last cycles of the reads, each with a dashed line behind it.
pub(super) fn by_cycle(
    title: &'static str,
    id: &'static str,
    values: &[(u16, Option<f64>)],
    breaks: &[u16],
) -> Figure {
    const TOP: f64 = 10.0;
    const BOTTOM: f64 = 170.0;
    let last = values.iter().map(|(cycle, _)| *cycle).chain(breaks.iter().copied()).max();
    let last = f64::from(last.unwrap_or(1).max(2));
    let x = |cycle: u16| LEFT + (f64::from(cycle) - 1.0) / (last - 1.0) * (RIGHT - LEFT);
    let y = |value: f64| BOTTOM - value.clamp(0.0, 100.0) / 100.0 * (BOTTOM - TOP);
    let known = values.iter().filter_map(|(_, value)| *value);
    let (low, high) = known.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let label = if low <= high {
        format!("{title}: {} cycles, from {low:.1} % to {high:.1} %", values.len())
    } else {
        format!("{title}: no figures yet")
    };
    let mut drawing = Drawing::new(&label, BOTTOM + 2.0 * LINE + 6.0);
    for value in [0.0, 25.0, 50.0, 75.0, 100.0] {
        drawing.line("grid", (LEFT, y(value)), (RIGHT, y(value)));
        drawing.text("tick end", (LEFT - 6.0, y(value) + 4.0), &format!("{value:.0}"));
    }
    for cycle in breaks {
        if f64::from(*cycle) < last {
            let at = (x(*cycle) + x(*cycle + 1)) / 2.0;
            drawing.line("break", (at, TOP), (at, BOTTOM));
        }
    }
    drawing.path(values.iter().map(|(cycle, value)| value.map(|value| (x(*cycle), y(value)))));
    let mut shown = vec![1, last_u16(last)];
    shown.extend(breaks.iter().copied().filter(|cycle| {
        // Not over a number that stands there already.
        (x(*cycle) - LEFT).abs() > 24.0 && (x(*cycle) - RIGHT).abs() > 28.0
    }));
    let mut before = f64::MIN;
    shown.sort_unstable();
    for cycle in shown {
        let at = x(cycle);
        if at - before < 22.0 {
            continue;
        }
        before = at;
        let class = if f64::from(cycle) >= last { "tick end" } else { "tick middle" };
        drawing.text(class, (at, BOTTOM + LINE), &cycle.to_string());
    }
    drawing.text("tick middle", ((LEFT + RIGHT) / 2.0, BOTTOM + 2.0 * LINE), "cycle");
    let rows = values.iter().map(|(cycle, value)| vec![cycle.to_string(), percent(*value)]);
    let (rows, more) = table(rows.collect());
    Figure { title, id, svg: drawing.done(), columns: vec!["Cycle", "Share"], rows, more }
}

fn last_u16(last: f64) -> u16 {
    // Made of one above, so nothing is cut off.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was a u16")]
    let last = last as u16;
    last
}

/// One line below the other, all on one scale, each with its lowest, mean and highest value in words.
pub(super) fn strips(
    title: &'static str,
    id: &'static str,
    strips: &[Strip],
    words: impl Fn(f64) -> String,
) -> Figure {
    const EACH: f64 = 46.0;
    let known = || strips.iter().flat_map(|strip| strip.values.iter().flatten().copied());
    let (low, high) = known().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let label = if low <= high {
        format!("{title}: {} lanes, from {} to {}", strips.len(), words(low), words(high))
    } else {
        format!("{title}: no figures yet")
    };
    let height = strips.len() as f64 * EACH + 4.0;
    let mut drawing = Drawing::new(&label, height);
    let mut rows = Vec::new();
    for (at, strip) in strips.iter().enumerate() {
        let (top, bottom) = (at as f64 * EACH + LINE + 2.0, (at + 1) as f64 * EACH - 4.0);
        let own: Vec<f64> = strip.values.iter().flatten().copied().collect();
        let spread = own.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        let mean = own.iter().sum::<f64>() / own.len().max(1) as f64;
        drawing.text("name", (4.0, top - 4.0), &strip.name);
        if own.is_empty() {
            drawing.text("tick end", (RIGHT, top - 4.0), "no figures");
            rows.push([&strip.name, "0", "–", "–", "–"].map(ToOwned::to_owned).to_vec());
            continue;
        }
        let (least, most) = (words(spread.0), words(spread.1));
        drawing.text("tick end", (RIGHT, top - 4.0), &format!("{least} to {most}"));
        drawing.line("grid", (4.0, bottom), (RIGHT, bottom));
        let range = (high - low).max(f64::EPSILON);
        let y = |value: f64| bottom - (value - low) / range * (bottom - top);
        let last = strip.values.len().saturating_sub(1).max(1) as f64;
        let x = |tile: usize| 4.0 + tile as f64 / last * (RIGHT - 4.0);
        let points = strip.values.iter().enumerate();
        drawing.path(points.map(|(tile, value)| value.map(|value| (x(tile), y(value)))));
        let tiles = own.len().to_string();
        rows.push(vec![strip.name.clone(), tiles, least, words(mean), most]);
    }
    let (rows, more) = table(rows);
    let columns = vec!["Lane", "Tiles", "Least", "Mean", "Most"];
    Figure { title, id, svg: drawing.done(), columns, rows, more }
}

/// Bars, the longest scaled to the width, each under its name: names may be as long as a phone is wide.
pub(super) fn bars(
    title: &'static str,
    id: &'static str,
    columns: [&'static str; 2],
    all: &[Bar],
) -> Figure {
    const EACH: f64 = 34.0;
    let drawn = all.get(..all.len().min(MOST_BARS)).unwrap_or_default();
    let most = all.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let label = match (all.first(), all.len()) {
        (Some(first), count) => {
            format!("{title}: {count}, the first is {} with {}", first.name, first.words)
        }
        (None, _) => format!("{title}: no figures yet"),
    };
    let height = (drawn.len() as f64).mul_add(EACH, 4.0);
    let mut drawing = Drawing::new(&label, height);
    for (at, bar) in drawn.iter().enumerate() {
        let top = at as f64 * EACH;
        let share = if most > 0.0 { (bar.value / most).clamp(0.0, 1.0) } else { 0.0 };
        let room = 46_usize.saturating_sub(bar.words.chars().count() + 2);
        drawing.text("name", (4.0, top + LINE), &cut(&bar.name, room));
        drawing.text("tick end", (RIGHT, top + LINE), &bar.words);
        let (y, width) = (top + LINE + 5.0, RIGHT - 4.0);
        drawing.put(format_args!(
            r#"<rect class="ground" x="4" y="{y:.1}" width="{width:.1}" height="8" rx="2"/>"#
        ));
        let width = (share * width).max(1.0);
        drawing.put(format_args!(
            r#"<rect class="bar-of" x="4" y="{y:.1}" width="{width:.1}" height="8" rx="2"/>"#
        ));
    }
    let rows = all.iter().map(|bar| vec![bar.name.clone(), bar.words.clone()]);
    let (rows, more) = table(rows.collect());
    Figure { title, id, svg: drawing.done(), columns: columns.to_vec(), rows, more }
}

/// Bases as people say them.
pub(super) fn bases(count: f64) -> String {
    for (unit, size) in [("Tb", 1e12), ("Gb", 1e9), ("Mb", 1e6), ("kb", 1e3)] {
        if count >= size {
            return format!("{:.2} {unit}", count / size);
        }
    }
    format!("{count:.0} bases")
}

/// A count that a figure has as a float.
pub(super) fn rounded(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
    let whole = value.round().clamp(0.0, 9e15) as u64;
    words::count(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, value: f64) -> Bar {
        Bar { name: name.to_owned(), value, words: format!("{value:.0} clusters") }
    }

    /// An XML reader of another hand says that every drawing is well-formed; gives the texts in it.
    fn texts(figure: &Figure) -> Vec<String> {
        let mut depth = 0_i64;
        let mut found = Vec::new();
        for part in figure.svg.split('<').skip(1) {
            let (tag, text) = part.split_once('>').unwrap();
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            match (tag.starts_with('/'), tag.ends_with('/')) {
                (true, _) => depth -= 1,
                (false, true) => {}
                (false, false) => depth += 1,
            }
            if !text.is_empty() {
                found.push(text.to_owned());
            }
        }
        assert_eq!(depth, 0);
        found
    }

    #[test]
    fn what_samples_are_called_is_text_and_nothing_else() {
        let name = "</text><script>alert(1)</script>\" onload='x' & \u{7}";
        let figure = bars("Yield by sample", "yield", ["Sample", "Yield"], &[bar(name, 3.0)]);
        assert!(!figure.svg.contains("<script") && !figure.svg.contains("onload='"));
        let texts = texts(&figure);
        assert!(texts[0].starts_with("&lt;/text&gt;&lt;script&gt;"), "{texts:?}");
        assert!(
            figure.svg.contains("role=\"img\" aria-label=\"Yield by sample: 1, the first is &lt;")
        );
        assert_eq!(figure.rows, [[name.to_owned(), "3 clusters".to_owned()]]);
    }

    #[test]
    fn a_drawing_is_a_phone_wide_and_nothing_in_it_lies_outside() {
        let values: Vec<_> = (1..=318)
            .map(|cycle| (cycle, (cycle != 150).then_some(f64::from(cycle % 101))))
            .collect();
        let lanes: Vec<_> = (1..=8)
            .map(|lane| Strip {
                name: format!("Lane {lane}"),
                values: (0..1000).map(|tile| (tile % 7 != 0).then_some(f64::from(tile))).collect(),
            })
            .collect();
        let many: Vec<_> = (0..900_u16).map(|n| bar("ACGTACGT+TTGCATGC", f64::from(n))).collect();
        for figure in [
            by_cycle("Q30 by cycle", "q30", &values, &[151, 159, 167]),
            strips("Density by tile", "density", &lanes, |value| format!("{value:.0}")),
            bars("Unknown barcodes", "unknown", ["Barcode", "Clusters"], &many),
        ] {
            texts(&figure);
            let box_of = figure.svg.split("viewBox=\"0 0 360 ").nth(1).unwrap();
            let height: f64 = box_of.split('"').next().unwrap().parse().unwrap();
            for (axis, most) in [("x", WIDTH), ("y", height), ("x2", WIDTH), ("cy", height)] {
                for found in figure.svg.split(&format!(" {axis}=\"")).skip(1) {
                    let value: f64 = found.split('"').next().unwrap().parse().unwrap();
                    assert!((0.0..=most).contains(&value), "{axis} {value} of {}", figure.title);
                }
            }
            assert!(figure.rows.len() <= MOST_ROWS && !figure.rows.is_empty());
            assert!(figure.rows.iter().all(|row| row.len() == figure.columns.len()));
        }
    }

    #[test]
    fn no_figures_are_said_to_be_none() {
        let none = by_cycle("Q30 by cycle", "q30", &[], &[]);
        assert!(none.svg.contains("aria-label=\"Q30 by cycle: no figures yet\""));
        let lane = Strip { name: "Lane 1".to_owned(), values: vec![None] };
        let empty = strips("Density by tile", "density", &[lane], |value| value.to_string());
        assert_eq!(empty.rows[0][1], "0");
        assert!(texts(&empty).contains(&"no figures".to_owned()));
        let zero = bars("Share", "share", ["Sample", "Share"], &[bar("a", 0.0)]);
        assert!(!zero.svg.contains("NaN"));
    }

    #[test]
    fn a_point_between_gaps_is_seen() {
        let lone = by_cycle("Q30 by cycle", "q30", &[(1, None), (2, Some(50.0)), (3, None)], &[]);
        assert_eq!(lone.svg.matches("<circle").count(), 1);
    }

    #[test]
    fn bases_have_their_unit() {
        assert_eq!(bases(18.642_088e9), "18.64 Gb");
        assert_eq!(bases(999.0), "999 bases");
        assert_eq!(rounded(1_234.6), "1\u{202f}235");
    }
}
