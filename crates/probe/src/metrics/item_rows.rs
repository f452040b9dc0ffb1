//! The rows of an item.

use crate::items::item_row::ItemRow;

/// Iterates over the rows of each item.
pub(crate) fn rows_by_item(rows: &[ItemRow]) -> impl Iterator<Item = &[ItemRow]> {
    rows.chunk_by(|a, b| a.item == b.item)
}

/// Iterates over the cluster of each item.
pub(crate) fn cluster_labels(rows: &[ItemRow]) -> impl Iterator<Item = Option<u32>> {
    rows_by_item(rows).map(|item| item[0].cluster)
}

/// The row of the correct choice. If the rows have none, which no writer produces, the first row.
pub(crate) fn gold(item: &[ItemRow]) -> &ItemRow {
    item.iter().find(|row| row.choice == row.gold).unwrap_or(&item[0])
}
