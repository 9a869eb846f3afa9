//! Tables for people: they fit the terminal, and are plain text when there is none.

use super::failure::{Failure, one_line};
use super::screen::Screen;
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Row, presets};

const WIDTH_WITHOUT_TERMINAL: u16 = 10_000;

/// A table under construction.
pub(crate) struct Table {
    inner: comfy_table::Table,
    screen: Screen,
}

impl Table {
    /// A table with these columns; the first is never broken over lines.
    pub(crate) fn new(screen: Screen, columns: &[&str]) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        let width = if screen.terminal { inner.width() } else { None };
        if !screen.colour {
            inner.force_no_tty();
        }
        inner.set_width(width.unwrap_or(WIDTH_WITHOUT_TERMINAL));
        inner.set_header(columns.iter().map(|name| bold(Cell::new(name), screen)));
        inner.set_truncation_indicator("…");
        let last = columns.len().saturating_sub(1);
        for (at, column) in inner.column_iter_mut().enumerate() {
            column.set_padding((0, if at == last { 0 } else { 2 }));
        }
        if let Some(first) = inner.column_mut(0) {
            first.set_constraint(ColumnConstraint::ContentWidth);
        }
        Self { inner, screen }
    }

    /// A list of names and values, without a heading.
    pub(crate) fn of_pairs(screen: Screen) -> Self {
        Self::new(screen, &["", ""]).without_heading()
    }

    /// Adds a row of one line, what does not fit cut off; control characters in it are taken out.
    pub(crate) fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells: Vec<Cell> = cells.into_iter().map(|text| self.cell(text.as_ref())).collect();
        let mut row = Row::from(cells);
        row.max_height(1);
        self.inner.add_row(row);
    }

    /// Takes the heading away.
    pub(crate) fn without_heading(mut self) -> Self {
        self.inner.set_header(Vec::<Cell>::new());
        self
    }

    /// Adds a row that takes as many lines as it needs.
    pub(crate) fn long_row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells: Vec<Cell> = cells.into_iter().map(|text| self.cell(text.as_ref())).collect();
        self.inner.add_row(Row::from(cells));
    }

    /// Whether there is room for this many columns of characters. Without a terminal there is.
    pub(crate) fn has_room_for(screen: Screen, characters: u16) -> bool {
        !screen.terminal || comfy_table::Table::new().width().is_none_or(|width| width >= characters)
    }

    /// Adds a name and a value, unless the value is empty.
    pub(crate) fn pair(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            let cells = [bold(Cell::new(name), self.screen), self.cell(value)];
            self.inner.add_row(cells.to_vec());
        }
    }

    /// Prints it.
    pub(crate) fn print(self) -> Result<(), Failure> {
        self.screen.line(&self.lines().join("\n"))
    }

    /// Its lines, as [`Table::print`] prints them.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = self.inner.to_string();
        text.lines().map(|line| line.trim_end().to_owned()).skip_while(String::is_empty).collect()
    }

    fn cell(&self, text: &str) -> Cell {
        let cell = Cell::new(one_line(text));
        match colour_of(text) {
            Some(colour) if self.screen.colour => cell.fg(colour),
            _ => cell,
        }
    }
}

fn bold(cell: Cell, screen: Screen) -> Cell {
    if screen.colour { cell.add_attribute(comfy_table::Attribute::Bold) } else { cell }
}

/// States are coloured wherever they stand, by what they ask of the reader.
fn colour_of(text: &str) -> Option<Color> {
    match text {
        "succeeded" | "online" | "running" | "ok" => Some(Color::Green),
        "failed" | "wrong" | "lost" | "timed_out" | "expired" | "offline" | "no dispatcher" => Some(Color::Red),
        "retrying" | "warning" | "suspect" | "limited" | "draining" | "running (limited)" => Some(Color::Yellow),
        "cancelled" | "left" => Some(Color::DarkGrey),
        _ => None,
    }
}
