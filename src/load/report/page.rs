//! A report as one HTML file, for a browser, a phone or a printer.
//!
//! Invariants: every text goes through [`Escaped`], because reasons come from the server under test
//! and names from the command line; the page's own policy forbids scripts and anything from a network.

use std::fmt::{self, Display, Write as _};

use super::origin::Origin;
use super::plot::Plot;
use super::style::{SERIES, sheet};
use super::svg::{Width, svg};
use super::table::Table;

/// A text, safe between tags and in a quoted attribute.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            // Not allowed in HTML in any form, and a terminal's colours are of no use here.
            control if control.is_control() && control != '\n' => f.write_char('\u{FFFD}'),
            other => f.write_char(other),
        })
    }
}

/// What a section shows.
#[derive(Debug, Clone)]
pub enum Content {
    /// Numbers.
    Table(Table),
    /// A plot, with its numbers below it.
    Plot(Plot),
}

/// One answer.
#[derive(Debug, Clone)]
struct Section {
    heading: String,
    reading: String,
    content: Content,
}

/// A report for people with a browser.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    subtitle: String,
    origin: Option<Origin>,
    figures: Vec<(String, String)>,
    verdicts: Vec<String>,
    sections: Vec<Section>,
}

impl Page {
    /// A page without an answer yet.
    pub fn new(
        title: impl Into<String>,
        subtitle: impl Into<String>,
        origin: impl Into<Option<Origin>>,
    ) -> Self {
        Self {
            title: title.into(),
            subtitle: subtitle.into(),
            origin: origin.into(),
            figures: Vec::new(),
            verdicts: Vec::new(),
            sections: Vec::new(),
        }
    }

    /// Adds a figure to the few that are shown large: its value, and in a few words what it is.
    pub fn figure(&mut self, value: impl Into<String>, what: impl Into<String>) {
        self.figures.push((value.into(), what.into()));
    }

    /// Adds a sentence that says what the figures mean or why to doubt them.
    pub fn verdict(&mut self, sentence: impl Into<String>) {
        self.verdicts.push(sentence.into());
    }

    /// Adds a section: `reading` is the sentence that says how to read it. An empty plot adds nothing.
    pub fn section(&mut self, heading: impl Into<String>, reading: impl Into<String>, content: Content) {
        let is_empty = match &content {
            Content::Table(table) => table.rows().is_empty(),
            Content::Plot(plot) => plot.is_empty(),
        };
        if !is_empty {
            self.sections.push(Section { heading: heading.into(), reading: reading.into(), content });
        }
    }

    /// The page as HTML, without a newline at its end.
    pub fn render(&self) -> String {
        let mut html = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut html);
        html
    }

    fn write(&self, html: &mut String) -> fmt::Result {
        let title = Escaped(&self.title);
        write!(
            html,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n\
             <header>\n<h1>{title}</h1>\n<p class=\"subtitle\">{}</p>\n",
            sheet(),
            Escaped(&self.subtitle)
        )?;
        if !self.figures.is_empty() {
            html.push_str("<ul class=\"figures\">\n");
            for (value, what) in &self.figures {
                writeln!(html, "<li><b>{}</b><span>{}</span></li>", Escaped(value), Escaped(what))?;
            }
            html.push_str("</ul>\n");
        }
        if !self.verdicts.is_empty() {
            html.push_str("<div class=\"verdict\">\n");
            for sentence in &self.verdicts {
                writeln!(html, "<p>{}</p>", Escaped(sentence))?;
            }
            html.push_str("</div>\n");
        }
        html.push_str("</header>\n");
        for section in &self.sections {
            let (heading, reading) = (Escaped(&section.heading), Escaped(&section.reading));
            writeln!(html, "<section>\n<h2>{heading}</h2>\n<p class=\"reading\">{reading}</p>")?;
            match &section.content {
                Content::Table(table) => write_table(html, table)?,
                Content::Plot(plot) => write_plot(html, plot, &section.heading)?,
            }
            html.push_str("</section>\n");
        }
        // What was computed, not measured, has no place and day.
        if let Some(origin) = &self.origin {
            html.push_str("<section>\n<h2>Where and how</h2>\n<dl>\n");
            for (what, which) in origin.rows() {
                let which = Escaped(&which);
                if what == "Command" {
                    writeln!(html, "<dt>{what}</dt><dd><code>{which}</code></dd>")?;
                } else {
                    writeln!(html, "<dt>{what}</dt><dd>{which}</dd>")?;
                }
            }
            html.push_str("</dl>\n</section>\n");
        }
        html.push_str("</main>\n</body>\n</html>");
        Ok(())
    }
}

fn write_table(html: &mut String, table: &Table) -> fmt::Result {
    html.push_str("<table>\n<tbody>\n");
    for (what, value) in table.rows() {
        let class = if what.starts_with(' ') { " class=\"part\"" } else { "" };
        let (what, value) = (Escaped(what.trim_start()), Escaped(value));
        writeln!(html, "<tr><th scope=\"row\"{class}>{what}</th><td>{value}</td></tr>")?;
    }
    html.push_str("</tbody>\n</table>\n");
    Ok(())
}

fn write_plot(html: &mut String, plot: &Plot, name: &str) -> fmt::Result {
    let (x, y) = match plot {
        Plot::Bars { unit, .. } => (unit.as_str(), None),
        Plot::Percentiles { unit, .. } => ("percentile", Some(unit)),
        Plot::Lines { x, y, .. } => (x.as_str(), Some(y)),
    };
    html.push_str("<figure>\n");
    let names = plot.names();
    // One colour needs no key: heading and axis say what it is.
    if names.len() > 1 {
        html.push_str("<ul class=\"legend\">\n");
        for (at, name) in names.into_iter().enumerate() {
            writeln!(html, "<li><i class=\"s{}\"></i>{}</li>", at % SERIES.len(), Escaped(name))?;
        }
        html.push_str("</ul>\n");
    }
    if let Some(y) = y {
        writeln!(html, "<p class=\"axis\">{}</p>", Escaped(y))?;
    }
    for (class, width) in [("wide", Width::Wide), ("narrow", Width::Narrow)] {
        let label = format!("<svg role=\"img\" aria-label=\"{}\" ", Escaped(name));
        let drawing = svg(plot, width).replacen("<svg ", &label, 1);
        writeln!(html, "<div class=\"{class}\">{drawing}</div>")?;
    }
    writeln!(html, "<p class=\"axis x\">{}</p>", Escaped(x))?;
    html.push_str("<details>\n<summary>The numbers</summary>\n<div class=\"scroll\" tabindex=\"0\">\n<table>\n<thead><tr>");
    let numbers = plot.numbers();
    for column in &numbers.head {
        write!(html, "<th scope=\"col\">{}</th>", Escaped(column))?;
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in &numbers.rows {
        html.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            let cell = Escaped(cell);
            if at == 0 {
                write!(html, "<th scope=\"row\">{cell}</th>")?;
            } else {
                write!(html, "<td>{cell}</td>")?;
            }
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n</div>\n</details>\n</figure>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::{Bar, Series};

    const EVIL: &str = "</title><script>alert('&')</script>\"\u{1b}[31m";

    fn origin() -> Origin {
        Origin::now(EVIL, 1, 0)
    }

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let mut page = Page::new(EVIL, EVIL, origin());
        page.figure(EVIL, EVIL);
        page.verdict(EVIL);
        let mut table = Table::default();
        table.row(EVIL, EVIL);
        page.section(EVIL, EVIL, Content::Table(table));
        let bars = vec![Bar::new(EVIL, vec![(EVIL.to_owned(), 1.0), ("b".to_owned(), 1.0)])];
        page.section(EVIL, EVIL, Content::Plot(Plot::Bars { unit: EVIL.to_owned(), bars }));
        let html = page.render();
        assert!(!html.contains("<script") && !html.contains("alert('"));
        assert_eq!(html.matches("</title>").count(), 1);
        assert!(html.contains("aria-label=\"&lt;/title&gt;&lt;script&gt;alert(&#39;&amp;&#39;)"));
        assert!(!html.contains('\u{1b}'));
    }

    #[test]
    fn a_run_that_measured_nothing_is_still_a_page() {
        let mut page = Page::new("idle", "interrupted", origin());
        let series = vec![Series::new("a", Vec::new())];
        page.section("Latency", "…", Content::Plot(Plot::Percentiles { unit: "µs".to_owned(), series }));
        page.section("Numbers", "…", Content::Table(Table::default()));
        let html = page.render();
        assert!(!html.contains("<svg") && !html.contains("<ul") && html.contains("Where and how"));
        assert_eq!(html.matches("<section>").count(), 1);
    }

    #[test]
    fn a_plot_has_a_name_a_legend_and_its_numbers() {
        let mut page = Page::new("t", "s", origin());
        let parts = vec![("user".to_owned(), 160.0), ("TCP".to_owned(), 2_368.0)];
        let bars = vec![Bar::new("server", parts)];
        page.section("Memory", "…", Content::Plot(Plot::Bars { unit: "bytes".to_owned(), bars }));
        let html = page.render();
        assert_eq!(html.matches("<svg role=\"img\" aria-label=\"Memory\" ").count(), 2);
        assert!(html.contains("<li><i class=\"s1\"></i>TCP</li>"));
        assert!(html.contains("<tr><th scope=\"row\">TCP</th><td>2,368</td></tr>"));
    }
}
