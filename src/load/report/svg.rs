//! Drawing: a [`Plot`] as an SVG element, by plotters.
//!
//! Names, axis titles and the legend are HTML beside it (page.rs), where they wrap on a phone. Text
//! has no size here but an estimate, as no font is loaded; labels are given room accordingly.

use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::number::significant;
use super::plot::{Bar, Plot, Scale, Series, drawn};
use super::style::{GRID, INK, SERIES};

/// Height of a text in px; plotters' SVG divides the size it is given by 1.24.
const TEXT_PX: f64 = 12.0 * 1.24;
/// Room for one character of that text in px.
const CHARACTER_PX: u32 = 7;
/// Room for a bar with its name above.
const BAR_PX: u32 = 58;
/// Room for the labels of the x axis.
const LABELS_PX: u32 = 26;
/// Breadth of a band.
const BAND_PX: u32 = 10;
/// Series with at most so many points have them marked.
const MARKED_MAX: usize = 24;

/// How much room a drawing has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// A screen or a sheet of paper.
    Wide,
    /// A phone.
    Narrow,
}

impl Width {
    /// Its width in px.
    pub const fn px(self) -> u32 {
        match self {
            Self::Wide => 726,
            Self::Narrow => 340,
        }
    }

    const fn x_ticks(self) -> usize {
        match self {
            Self::Wide => 8,
            Self::Narrow => 4,
        }
    }
}

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// `plot` as an `<svg>` element that is as wide as its parent. Nothing of it comes from outside:
/// bars' names do, and plotters escapes them.
pub fn svg(plot: &Plot, width: Width) -> String {
    let mut text = String::new();
    let height = match plot {
        Plot::Bars { bars, .. } => bars.len() as u32 * BAR_PX + LABELS_PX,
        Plot::Percentiles { .. } | Plot::Lines { .. } => 270,
    };
    {
        let canvas = SVGBackend::with_string(&mut text, (width.px(), height)).into_drawing_area();
        // Writing to a String cannot fail, and what was drawn before a failure would still be right.
        let _ = match plot {
            Plot::Bars { bars, .. } => draw_bars(&canvas, plot, bars, width),
            Plot::Percentiles { series, .. } => {
                draw_series(&canvas, series, (Scale::Percentile, Scale::Log), width)
            }
            Plot::Lines { x_scale, y_scale, series, .. } => {
                draw_series(&canvas, series, (*x_scale, *y_scale), width)
            }
        };
    }
    text
}

fn text_style(h: HPos, v: VPos) -> TextStyle<'static> {
    ("sans-serif", TEXT_PX).into_font().color(&INK.drawn()).pos(Pos::new(h, v))
}

/// Lines at the ticks, and their labels. A y axis of which nothing is to be seen has no ticks.
fn draw_mesh<Y>(chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<Axis, Y>>, has_y: bool) -> Drawn
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut mesh = chart.configure_mesh();
    let label = ("sans-serif", TEXT_PX).into_font().color(&INK.drawn());
    mesh.axis_style(GRID.drawn()).bold_line_style(GRID.drawn()).label_style(label).set_all_tick_mark_size(4);
    if has_y {
        mesh.disable_x_mesh();
    } else {
        mesh.disable_y_mesh().disable_y_axis();
    }
    mesh.draw()
}

fn draw_bars(canvas: &Canvas<'_>, plot: &Plot, bars: &[Bar], width: Width) -> Drawn {
    let x = Axis::new(Scale::Linear, bars.iter().map(Bar::total), width.x_ticks(), true);
    let longest = x.range().end;
    let mut chart = ChartBuilder::on(canvas)
        .margin_right(16)
        .margin_left(8)
        .x_label_area_size(LABELS_PX)
        .build_cartesian_2d(x, bars.len() as f64..0.0)?;
    draw_mesh(&mut chart, false)?;
    let colours = plot.names();
    for (row, bar) in bars.iter().enumerate() {
        let (top, bottom) = (row as f64 + 0.42, row as f64 + 0.88);
        let name = text_style(HPos::Left, VPos::Bottom);
        // Plotters escapes markup, but lets through what HTML allows in no form.
        let shown = bar.name.replace(char::is_control, "\u{FFFD}");
        let total_text = significant(bar.total());
        let shown = shortened(&shown, (width.px() / CHARACTER_PX) as usize - total_text.len() - 4);
        chart.plotting_area().draw(&Text::new(shown, (0.0, top - 0.04), name))?;
        let total = text_style(HPos::Right, VPos::Bottom);
        chart.plotting_area().draw(&Text::new(total_text, (longest, top - 0.04), total))?;
        let mut from = 0.0;
        for (name, amount) in &bar.parts {
            let to = from + drawn(*amount);
            if let Some(at) = colours.iter().position(|colour| colour == name) {
                let colour = SERIES[at % SERIES.len()].drawn().filled();
                chart.plotting_area().draw(&Rectangle::new([(from, top), (to, bottom)], colour))?;
            }
            from = to;
        }
    }
    canvas.present()
}

/// `text` in at most `characters_max` characters.
fn shortened(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    text.chars().take(characters_max.saturating_sub(1)).chain(['…']).collect()
}

fn draw_series(canvas: &Canvas<'_>, series: &[Series], scales: (Scale, Scale), width: Width) -> Drawn {
    let points = || series.iter().flat_map(|series| &series.points);
    let x = Axis::new(scales.0, points().map(|point| point.0), width.x_ticks(), true);
    let y = Axis::new(scales.1, points().map(|point| point.1), 5, false);
    let longest = y.ticks().iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0) as u32;
    let floor = y.range().start;
    let mut chart = ChartBuilder::on(canvas)
        .margin_top(10)
        .margin_right(20)
        .x_label_area_size(LABELS_PX)
        .y_label_area_size(longest * CHARACTER_PX + 12)
        .build_cartesian_2d(x, y)?;
    draw_mesh(&mut chart, true)?;
    // Areas over one another would mix their colours; and on a log scale an area means nothing.
    let has_area = series.len() == 1 && scales.1 == Scale::Linear;
    // A band first, whatever its place, so that it does not tint the lines that run in it.
    let (bands, lines): (Vec<_>, Vec<_>) = series.iter().enumerate().partition(|(_, series)| series.is_band);
    for (at, series) in bands.into_iter().chain(lines) {
        let colour = SERIES[at % SERIES.len()].drawn();
        let points: Vec<(f64, f64)> =
            series.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        if series.is_band {
            let pale = colour.mix(0.22).stroke_width(BAND_PX);
            chart.draw_series(LineSeries::new(points, pale))?;
        } else {
            draw_line(&mut chart, &points, colour, has_area.then_some(floor))?;
        }
    }
    canvas.present()
}

fn draw_line(
    chart: &mut Chart<'_, '_>,
    points: &[(f64, f64)],
    colour: RGBColor,
    area_from: Option<f64>,
) -> Drawn {
    if let Some(floor) = area_from {
        chart.draw_series(AreaSeries::new(points.iter().copied(), floor, colour.mix(0.12)))?;
    }
    chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
    // Corners of steps, of which two share an x, are no measured points.
    if points.len() <= MARKED_MAX && points.is_sorted_by(|one, next| one.0 < next.0) {
        // One alone is all there is to see of its series.
        let radius = if points.len() == 1 { 6 } else { 3 };
        chart.draw_series(points.iter().map(|point| Circle::new(*point, radius, colour.filled())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(points: Vec<(f64, f64)>) -> Plot {
        Plot::Lines {
            x: "s".to_owned(),
            x_scale: Scale::Linear,
            y: "connects/s".to_owned(),
            y_scale: Scale::Linear,
            series: vec![Series::new("a", points)],
        }
    }

    #[test]
    fn a_line_is_drawn_with_its_area_axes_and_labels() {
        let text = svg(&lines(vec![(0.0, 100.0), (10.0, 200.0)]), Width::Wide);
        assert!(text.starts_with("<svg ") && text.trim_end().ends_with("</svg>"));
        assert_eq!(text.matches("<svg").count(), text.matches("</svg>").count());
        assert!(text.contains("<polygon") && text.contains("<polyline") && text.contains("<circle"));
        assert!(text.contains(">\n200\n<") && text.contains(">\n10\n<"), "{text}");
    }

    #[test]
    fn a_band_is_broad_and_pale_and_a_single_point_is_large() {
        let series = vec![
            Series::band("needed", vec![(1.0, 1.0), (10.0, 5.0)]),
            Series::new("here", vec![(5.0, 3.0)]),
        ];
        let plot = Plot::Lines {
            x: String::new(),
            x_scale: Scale::Log,
            y: String::new(),
            y_scale: Scale::Log,
            series,
        };
        let text = svg(&plot, Width::Wide);
        assert!(text.contains("opacity=\"0.22\" stroke=\"#2563EB\" stroke-width=\"10\""), "{text}");
        assert!(text.contains("r=\"6\"") && !text.contains("r=\"3\""), "{text}");
    }

    #[test]
    fn numbers_that_are_none_are_passed_over() {
        for scale in [Scale::Linear, Scale::Log] {
            let series = vec![Series::new("a", vec![(f64::NAN, 1.0), (0.0, 0.0), (1.0, f64::INFINITY)])];
            let plot =
                Plot::Lines { x: String::new(), x_scale: scale, y: String::new(), y_scale: scale, series };
            assert!(!svg(&plot, Width::Narrow).contains("NaN"));
        }
    }

    #[test]
    fn a_name_too_long_for_its_bar_is_cut_between_characters() {
        assert_eq!(shortened("größer", 6), "größer");
        assert_eq!(shortened("größer", 4), "grö…");
        let bar = Bar::new("n".repeat(200), vec![("user".to_owned(), 1.0)]);
        let text = svg(&Plot::Bars { unit: "B".to_owned(), bars: vec![bar] }, Width::Narrow);
        assert!(text.contains("nnn…") && !text.contains(&"n".repeat(60)));
    }

    #[test]
    fn names_of_bars_cannot_become_markup() {
        let bar = Bar::new("</svg><script>", vec![("user".to_owned(), 1.0)]);
        let text = svg(&Plot::Bars { unit: "B".to_owned(), bars: vec![bar] }, Width::Wide);
        assert!(text.contains("&lt;/svg&gt;&lt;script&gt;") && !text.contains("<script"));
    }
}
