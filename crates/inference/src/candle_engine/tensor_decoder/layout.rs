//! A ragged batch as tensors that attention indexes with, made once per pass and shared by all
//! layers. It never touches weights or the cache.

use candle_core::{Result, Tensor};

use super::Place;
use crate::candle_engine::architecture::Architecture;
use crate::candle_engine::rows::Rows;

/// Positions that are copied out of the cache at once, unless a single sequence has more.
pub(super) const COPIED: usize = 1 << 17;
/// Pairs of a row and a position that are scored at once, unless a single row has more.
pub(super) const SCORED: usize = 1 << 20;

/// The windows of a model's layers, each once.
pub(super) struct Windows(Vec<Option<usize>>);

/// What attention needs of a batch.
pub(super) struct Layout {
    /// The tokens to embed.
    pub(super) tokens: Tensor,
    /// Cosines and sines, `rows × pairs`, one entry per rotation of the model.
    pub(super) angles: Vec<(Tensor, Tensor)>,
    /// For every value of every row's keys and values the slot that it goes to.
    pub(super) slots: Tensor,
    pub(super) groups: Vec<Group>,
    /// Brings what the groups found, one after another, into the order of rows.
    pub(super) order: Option<Tensor>,
}

/// Sequences that have as many rows each, computed together.
pub(super) struct Group {
    /// The rows, sequence after sequence.
    pub(super) rows: Tensor,
    pub(super) sequences: usize,
    /// Rows of each sequence.
    pub(super) each: usize,
    /// Positions of each sequence; shorter ones are padded with slots of their own.
    pub(super) positions: usize,
    /// The slots of all positions, `sequences × positions`.
    pub(super) slots: Tensor,
    /// What is added to scores, 0 or −∞, `sequences × 1 × 1 × each × positions`, for each window.
    pub(super) masks: Vec<Tensor>,
}

impl Windows {
    pub(super) fn new(architecture: &Architecture) -> Self {
        let mut windows: Vec<_> = architecture.layers.iter().map(|kind| kind.window).collect();
        windows.sort_unstable();
        windows.dedup();
        Self(windows)
    }

    /// The place of a layer's window among the masks.
    pub(super) fn place(&self, window: Option<usize>) -> usize {
        self.0.partition_point(|other| *other < window)
    }
}

impl Layout {
    pub(super) fn new(
        rows: &Rows,
        architecture: &Architecture,
        windows: &Windows,
        place: &Place,
    ) -> Result<Self> {
        let device = &place.device;
        let width = architecture.slot_width();
        let slots = rows.places.iter().map(|place| index(rows.slot(*place, place.position)));
        let slots = Tensor::from_iter(slots, device)?.unsqueeze(1)?;
        let slots = slots.broadcast_as((rows.len(), width))?.contiguous()?;
        let angles = (0..architecture.ropes.len()).map(|rope| angles(rows, rope, place));
        let grouped = grouped(rows);
        let order: Vec<usize> = grouped.iter().flatten().flat_map(Vec::clone).collect();
        let groups = grouped.iter().map(|group| Group::new(group, rows, windows, place));
        Ok(Self {
            tokens: Tensor::new(rows.tokens.as_slice(), device)?,
            angles: angles.collect::<Result<_>>()?,
            slots,
            groups: groups.collect::<Result<_>>()?,
            order: match order.is_sorted() {
                true => None,
                false => Some(Tensor::from_iter(inverse(&order), device)?),
            },
        })
    }
}

impl Group {
    /// `members` are the rows of each sequence.
    fn new(members: &[Vec<usize>], rows: &Rows, windows: &Windows, place: &Place) -> Result<Self> {
        let device = &place.device;
        let (sequences, each) = (members.len(), members.first().map_or(0, Vec::len));
        let lasts = members.iter().filter_map(|member| member.last().map(|row| rows.places[*row]));
        let positions = lasts.clone().map(|last| last.position + 1).max().unwrap_or(0);
        let slots = lasts.flat_map(|last| {
            (0..positions).map(move |at| index(rows.slot(last, at.min(last.position))))
        });
        let mask = |window: &Option<usize>| {
            let mut values = Vec::with_capacity(sequences * each * positions);
            for row in members.iter().flatten() {
                let end = rows.places[*row].position + 1;
                let start = window.map_or(0, |window| end.saturating_sub(window));
                let seen =
                    |at: usize| if (start..end).contains(&at) { 0.0 } else { f32::NEG_INFINITY };
                values.extend((0..positions).map(seen));
            }
            Tensor::from_vec(values, (sequences, 1, 1, each, positions), device)
        };
        Ok(Self {
            rows: Tensor::from_iter(members.iter().flatten().map(|row| index(*row)), device)?,
            sequences,
            each,
            positions,
            slots: Tensor::from_iter(slots, device)?,
            masks: windows.0.iter().map(mask).collect::<Result<_>>()?,
        })
    }
}

/// The rows of each sequence of each group. Sequences of one row are computed together, as many as
/// may be copied at once; of others, as many rows as may be scored at once. Nothing is padded but
/// positions.
fn grouped(rows: &Rows) -> Vec<Vec<Vec<usize>>> {
    let mut members = vec![Vec::new(); rows.tables.len()];
    for (row, place) in rows.places.iter().enumerate() {
        members[place.table].push(row);
    }
    let positions = |member: &[usize]| {
        let last = member.last().map(|row| rows.places[*row].position + 1);
        last.unwrap_or(1)
    };
    let (single, several): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|member| member.len() == 1);
    let (mut groups, mut longest) = (Vec::<Vec<Vec<usize>>>::new(), 0);
    for member in single {
        let length = positions(&member);
        longest = longest.max(length);
        match groups.last_mut() {
            Some(group) if (group.len() + 1) * longest <= COPIED => group.push(member),
            _ => {
                longest = length;
                groups.push(vec![member]);
            }
        }
    }
    for member in several {
        let at_once = (SCORED / positions(&member)).max(1);
        groups.extend(member.chunks(at_once).map(|rows| vec![rows.to_vec()]));
    }
    groups
}

fn angles(rows: &Rows, rope: usize, place: &Place) -> Result<(Tensor, Tensor)> {
    let (mut cos, mut sin) = (Vec::new(), Vec::new());
    for row in 0..rows.len() {
        let (row_cos, row_sin) = rows.angles(row, rope);
        cos.extend_from_slice(row_cos);
        sin.extend_from_slice(row_sin);
    }
    let tensor = |values: Vec<f32>| {
        let shape = (rows.len(), values.len() / rows.len().max(1));
        Tensor::from_vec(values, shape, &place.device)?.to_dtype(place.dtype)
    };
    Ok((tensor(cos)?, tensor(sin)?))
}

/// Where each row is in `order`.
fn inverse(order: &[usize]) -> Vec<u32> {
    let mut places = vec![0; order.len()];
    for (place, row) in order.iter().enumerate() {
        places[*row] = index(place);
    }
    places
}

/// Rows and slots as devices count them; more than 2³² slots fit no device.
fn index(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
