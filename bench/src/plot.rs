//! Curves as SVG files, written by `--svg FOLDER`.
//!
//! On white, so that they are legible on pages of any colour.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// Where curves go; nowhere if it is not set.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();

const SIZE: (u32, u32) = (840, 480);
/// Height of the plot above the highest point, for the legend.
const HEADROOM: f64 = 1.45;
const FONT: &str = "sans-serif";
/// Told apart also by those who see few colours (after Okabe and Ito).
const COLOURS: [RGBColor; 4] = [
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
];

/// What a plot shows.
pub(crate) struct Plot<'a> {
    /// Name of the file, without ending.
    pub(crate) file: &'a str,
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    /// The x axis is logarithmic.
    pub(crate) is_logarithmic: bool,
    /// Names and points of the curves, at most four; y is in nanoseconds.
    pub(crate) curves: Vec<(&'a str, Vec<(f64, f64)>)>,
}

/// Has curves written to this folder.
pub(crate) fn write_to(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    // A program asks once.
    let _ = FOLDER.set(folder.to_owned());
    Ok(())
}

/// Draws if a folder was named.
pub(crate) fn draw(plot: &Plot<'_>) -> Result<()> {
    let Some(folder) = FOLDER.get() else {
        return Ok(());
    };
    let path = folder.join(plot.file).with_extension("svg");
    draw_to(plot, &path).map_err(|error| anyhow!("write {}: {error}", path.display()))
}

/// What shows the plot on a page beside the folder `plots`; nothing if none is drawn.
pub(crate) fn on_page(plot: &Plot<'_>) -> String {
    match FOLDER.get() {
        Some(_) => format!("\n![{}](plots/{}.svg)\n", plot.title, plot.file),
        None => String::new(),
    }
}

fn draw_to(plot: &Plot<'_>, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let scaled = |x: f64| if plot.is_logarithmic { x.log10() } else { x };
    let points = || plot.curves.iter().flat_map(|(_, points)| points);
    let first = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let last = points().map(|point| point.0).fold(0.0, f64::max);
    let highest = points().map(|point| point.1).fold(0.0, f64::max);
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(plot.title, (FONT, 20))
        .margin(16)
        .margin_right(40)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(scaled(first)..scaled(last), 0.0..highest * HEADROOM)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(215, 215, 215))
        .x_desc(plot.x)
        .y_desc("ns a query")
        .axis_desc_style((FONT, 16))
        .label_style((FONT, 14))
        .x_labels(if plot.is_logarithmic { 4 } else { 10 })
        .x_label_formatter(&|x| match plot.is_logarithmic {
            true => short(10_f64.powf(*x)),
            false => short(*x),
        })
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    for ((name, points), colour) in plot.curves.iter().zip(COLOURS) {
        let line = points.iter().map(|&(x, y)| (scaled(x), y));
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)).point_size(3))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .legend_area_size(32)
        .margin(12)
        .label_font((FONT, 15))
        .background_style(WHITE)
        .border_style(RGBColor(160, 160, 160))
        .draw()?;
    root.present()?;
    Ok(())
}

/// A number as axes show it.
fn short(value: f64) -> String {
    match value {
        millions if millions > 999_999.0 => format!("{:.0} M", millions / 1e6),
        thousands if thousands > 999.0 => format!("{:.0} k", thousands / 1e3),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_names_its_axes_and_its_curves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plot.svg");
        let plot = Plot {
            file: "plot",
            title: "A title",
            x: "names",
            is_logarithmic: true,
            curves: vec![("warm", vec![(1e4, 10.0), (1e7, 20.0)])],
        };
        draw_to(&plot, &path).unwrap();
        let svg = std::fs::read_to_string(path).unwrap();
        for text in ["A title", "names", "ns a query", "warm", "10 k", "10 M"] {
            assert!(svg.contains(text), "no {text} in the plot");
        }
    }
}
