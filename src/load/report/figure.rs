//! A plot as a file of its own: one SVG picture with heading, legend and names of the axes.
//!
//! On a page these are HTML around the drawing; here they are text in the picture. It is light or dark
//! as the viewer is, by the page's own rules for colours.

use std::fmt::Write as _;

use super::page::Escaped;
use super::plot::Plot;
use super::style::{SERIES, dark_drawing, hex};
use super::svg::{Width, svg as drawing};

/// Between the edge and what is in the picture, in px.
const MARGIN_PX: usize = 24;
/// Height of a line of small text, in px.
const LINE_PX: usize = 20;
/// Room for the square before a name of the legend, and for the gap after the name.
const KEY_PX: usize = 18 + 16;

/// `plot` as an SVG document with a `title` and a sentence that says how to read it.
pub fn svg(title: &str, reading: &str, plot: &Plot) -> String {
    let inner_px = Width::Wide.px() as usize;
    let drawn = drawing(plot, Width::Wide);
    let (x, y) = match plot {
        Plot::Bars { unit, .. } => (unit.as_str(), ""),
        Plot::Percentiles { unit, .. } => ("percentile", unit.as_str()),
        Plot::Lines { x, y, .. } => (x.as_str(), y.as_str()),
    };
    let mut body = String::new();
    let mut text = |class: &str, x: usize, y: usize, text: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(body, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", Escaped(text));
    };
    let mut top = MARGIN_PX + 16;
    text("title", MARGIN_PX, top, title);
    for line in lines(reading, inner_px) {
        top += LINE_PX;
        text("dim", MARGIN_PX, top, &line);
    }
    top += LINE_PX + 8;
    let mut left = MARGIN_PX;
    let names = plot.names();
    let mut keys = String::new();
    for (at, name) in names.iter().enumerate().filter(|_| names.len() > 1) {
        let name_px = text_px(name) + KEY_PX;
        if left > MARGIN_PX && left + name_px > MARGIN_PX + inner_px {
            (left, top) = (MARGIN_PX, top + LINE_PX);
        }
        let colour = hex(SERIES[at % SERIES.len()].light());
        let (square_top, name_left) = (top - 10, left + 18);
        let _ = writeln!(
            keys,
            "<rect x=\"{left}\" y=\"{square_top}\" width=\"12\" height=\"12\" rx=\"3\" fill=\"{colour}\"/>"
        );
        text("ink", name_left, top, name);
        left += name_px;
    }
    top += LINE_PX + 4;
    text("dim", MARGIN_PX, top, y);
    let drawing_top = top + 4;
    let height_px = height_px(&drawn);
    text("dim middle", MARGIN_PX + inner_px / 2, drawing_top + height_px + 12, x);
    let placed = drawn.replacen("<svg ", &format!("<svg x=\"{MARGIN_PX}\" y=\"{drawing_top}\" "), 1);
    let (width, height) = (inner_px + 2 * MARGIN_PX, drawing_top + height_px + 12 + MARGIN_PX);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n<style>{}{}</style>\n\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n{keys}{body}{placed}</svg>\n",
        Escaped(title),
        SHEET,
        dark_drawing(".ground{fill:#131B2C}.title,.ink{fill:#E2E8F0}.dim{fill:#94A3B8}"),
    )
}

/// Texts and ground in the light.
const SHEET: &str = "
text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
.title{font-size:18px;font-weight:600}.middle{text-anchor:middle}
.ground{fill:#FFFFFF}.title,.ink{fill:#0F172A}.dim{fill:#556376}
";

/// The height that plotters gave a drawing.
fn height_px(drawn: &str) -> usize {
    let height = drawn.split_once("height=\"").and_then(|(_, rest)| rest.split_once('"'));
    height.and_then(|(height, _)| height.parse().ok()).unwrap_or(0)
}

/// Room for small `text` in px: an estimate, as no font is loaded.
fn text_px(text: &str) -> usize {
    let tenths = text.chars().map(|character| match character {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | '.' | ',' | ':' | '(' | ')' | ' ' | '1' => 50,
        'm' | 'w' | 'M' | 'W' => 120,
        _ => 78,
    });
    tenths.sum::<usize>() / 10
}

/// `text` in lines of at most `width_px`, broken between words.
fn lines(text: &str, width_px: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_px(line) + text_px(" ") + text_px(word) <= width_px => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::{Scale, Series};

    fn plot(names: [&str; 2]) -> Plot {
        Plot::Lines {
            x: "members".to_owned(),
            x_scale: Scale::Log,
            y: "nodes".to_owned(),
            y_scale: Scale::Log,
            series: names.map(|name| Series::new(name, vec![(1.0, 1.0), (10.0, 5.0)])).into(),
        }
    }

    #[test]
    fn a_picture_has_heading_legend_and_axes_and_stands_alone() {
        let text = svg("Nodes", "How to read it.", &plot(["memory", "deliveries"]));
        for part in [">Nodes<", ">How to read it.<", ">memory<", ">deliveries<", ">members<", ">nodes<"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert_eq!(text.matches("<svg ").count(), text.matches("</svg>").count());
        assert!(text.starts_with("<svg xmlns=") && text.ends_with("</svg>\n"));
        assert!(!text.contains("url(") && !text.contains("<script"));
        assert!(text.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn names_cannot_become_markup_and_a_long_legend_takes_lines() {
        let long = "n".repeat(100);
        let text = svg("</svg><script>", "a & b", &plot(["<script>", &long]));
        assert!(!text.contains("<script") && text.contains("&lt;script&gt;") && text.contains("a &amp; b"));
        let lines_of = |name: &str| {
            let (before, _) = text.split_once(&format!(">{name}<")).unwrap();
            before.rsplit_once("y=\"").unwrap().1.to_owned()
        };
        assert_ne!(lines_of("&lt;script&gt;"), lines_of(&long));
    }

    #[test]
    fn sentences_break_between_words() {
        assert_eq!(lines("one two three", 60), ["one two", "three"]);
        assert_eq!(lines("enormous a", 20), ["enormous", "a"]);
    }
}
