//! Weights as a product reads them: in their stored format, the rows of 64 outputs side by side, so
//! that vectors run over outputs. The bytes are those of the file in another order, and become F32
//! only a few at a time, in a buffer that stays in the processor's cache. It never quantises
//! anything: a product has the bits of the product with the same weights widened beforehand.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::kernel;
use super::linear::values;
use super::pages::Pages;
use super::widen;
use crate::load::error::LoadError;
use crate::load::format::Format;

/// Outputs per panel.
pub(crate) const PANEL: usize = 64;

/// A matrix of weights, `outputs × inputs`.
#[derive(Clone)]
pub(crate) struct Matrix {
    format: Format,
    outputs: usize,
    inputs: usize,
    /// Panel by panel; the last one is filled up with zeros. In a panel, the first unit of the rows
    /// of all its outputs comes first, then the second of all, and so on.
    bytes: Arc<Pages>,
}

/// A borrowed [`Matrix`].
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    format: Format,
    panel_bytes: usize,
    bytes: &'a [u8],
}

/// Bytes that stay together: a number of simple formats, a single byte of blocks.
const fn unit(format: Format) -> usize {
    match format.block() {
        (1, bytes) => bytes,
        _ => 1,
    }
}

/// Bytes of a row.
const fn row_bytes(format: Format, inputs: usize) -> usize {
    let (weights, bytes) = format.block();
    inputs / weights * bytes
}

impl Matrix {
    /// `rows` are exactly the rows of an `outputs × inputs` matrix, as files have them.
    pub(crate) fn new(
        format: Format,
        rows: &[u8],
        (outputs, inputs): (usize, usize),
    ) -> std::result::Result<Self, LoadError> {
        let row = row_bytes(format, inputs);
        let mut bytes = Pages::zeroed(outputs.div_ceil(PANEL) * PANEL * row)?;
        if row > 0 {
            let panels = bytes.par_chunks_exact_mut(PANEL * row).zip(rows.par_chunks(PANEL * row));
            panels.for_each(|(panel, rows)| match unit(format) {
                4 => interleave::<4>(rows, row, panel),
                2 => interleave::<2>(rows, row, panel),
                _ => interleave::<1>(rows, row, panel),
            });
        }
        Ok(Self { format, outputs, inputs, bytes: Arc::new(bytes) })
    }

    /// The outputs of both, if the two can be one.
    pub(crate) fn followed_by(&self, next: &Self) -> std::result::Result<Option<Self>, LoadError> {
        let fit = self.format == next.format
            && self.inputs == next.inputs
            && self.outputs.is_multiple_of(PANEL);
        if !fit {
            return Ok(None);
        }
        let mut bytes = Pages::zeroed(self.bytes.len() + next.bytes.len())?;
        let (first, second) = bytes.split_at_mut(self.bytes.len());
        first.copy_from_slice(&self.bytes);
        second.copy_from_slice(&next.bytes);
        let outputs = self.outputs + next.outputs;
        Ok(Some(Self { outputs, bytes: Arc::new(bytes), ..*self }))
    }

    /// Number of weights.
    pub(crate) fn count(&self) -> usize {
        self.outputs * self.inputs
    }

    pub(crate) fn panels(&self) -> Panels<'_> {
        let Self { format, outputs, inputs, .. } = *self;
        let panel_bytes = PANEL * row_bytes(format, inputs);
        Panels { outputs, inputs, format, panel_bytes, bytes: &self.bytes }
    }

    /// All of it as F32.
    pub(crate) fn widened(&self) -> Result<Tensor> {
        let mut values = vec![0.0; self.count()];
        let panels = values.par_chunks_mut((PANEL * self.inputs).max(1)).enumerate();
        panels.for_each(|(panel, rows)| {
            let mut columns = vec![[0.0; PANEL]; self.inputs];
            self.panels().widen(panel, 0, &mut columns);
            for (row, values) in rows.chunks_exact_mut(self.inputs).enumerate() {
                values.iter_mut().zip(&columns).for_each(|(value, column)| *value = column[row]);
            }
        });
        Tensor::from_vec(values, (self.outputs, self.inputs), &Device::Cpu)
    }

    /// All of it on a device; what is stored so already is moved as it is.
    pub(crate) fn tensor(&self, dtype: DType, device: &Device) -> Result<Tensor> {
        let row = row_bytes(self.format, self.inputs);
        if (self.format, dtype) != (Format::Bf16, DType::BF16) || row == 0 {
            return self.widened()?.to_dtype(dtype)?.to_device(device);
        }
        let mut rows = vec![0; self.outputs * row];
        let panels = rows.par_chunks_mut(PANEL * row).zip(self.bytes.par_chunks_exact(PANEL * row));
        panels.for_each(|(rows, panel)| separate::<2>(panel, row, rows));
        Tensor::from_raw_buffer(&rows, dtype, &[self.outputs, self.inputs], device)
    }

    /// The given rows, widened.
    pub(crate) fn select(&self, rows: &[u32]) -> Result<Tensor> {
        let mut values = Vec::with_capacity(rows.len() * self.inputs);
        let mut columns = vec![[0.0; PANEL]; self.inputs];
        for row in rows {
            let row = usize::try_from(*row).ok().filter(|row| *row < self.outputs);
            let Some(row) = row else { bail!("a row is outside the table") };
            self.panels().widen(row / PANEL, 0, &mut columns);
            values.extend(columns.iter().map(|column| column[row % PANEL]));
        }
        Tensor::from_vec(values, (rows.len(), self.inputs), &Device::Cpu)
    }

    /// `x · Wᵀ`.
    pub(crate) fn multiply(&self, input: &Tensor) -> Result<Tensor> {
        input.apply_op1_no_bwd(self)
    }
}

impl Panels<'_> {
    /// Outputs of a panel.
    pub(crate) fn outputs_of(&self, panel: usize) -> usize {
        (self.outputs - panel * PANEL).min(PANEL)
    }

    /// The weights of a panel's outputs for consecutive inputs from `first` on, a multiple of 32;
    /// their number is one as well, unless they are the last.
    #[inline(always)]
    pub(crate) fn widen(&self, panel: usize, first: usize, columns: &mut [[f32; PANEL]]) {
        let bytes = &self.bytes[panel * self.panel_bytes..][..self.panel_bytes];
        widen::widen(self.format, bytes, first, columns);
    }

    /// What is worth fetching while `count` columns are multiplied: the bytes of as many from
    /// `first` on, or of the next panel after this one's end. Nothing for plain numbers: measured on
    /// one kind of processor, it made Q4_K and Q8_0 faster and F16 half as fast.
    #[inline(always)]
    pub(crate) fn upcoming(&self, panel: usize, first: usize, count: usize) -> &[u8] {
        if unit(self.format) > 1 {
            return &[];
        }
        let bytes_of = |columns: usize| columns * self.panel_bytes / self.inputs;
        let start = panel * self.panel_bytes + bytes_of(first);
        self.bytes.get(start..start + bytes_of(count)).unwrap_or_default()
    }
}

impl CustomOp1 for Matrix {
    fn name(&self) -> &'static str {
        "multiply-transposed"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        if width != self.inputs {
            bail!("{rows}×{width} does not multiply {}×{}", self.outputs, self.inputs);
        }
        let product = kernel::multiply_transposed(values(storage, layout)?, self.panels());
        Ok((CpuStorage::F32(product), (rows, self.outputs).into()))
    }
}

/// Lays up to [`PANEL`] rows of `size` bytes side by side, in units of `UNIT` bytes.
fn interleave<const UNIT: usize>(rows: &[u8], size: usize, panel: &mut [u8]) {
    let groups = panel.as_chunks_mut::<UNIT>().0.chunks_exact_mut(PANEL);
    for (index, group) in groups.enumerate() {
        for (unit, row) in group.iter_mut().zip(rows.chunks_exact(size)) {
            if let Some(stored) = row[index * UNIT..].first_chunk::<UNIT>() {
                *unit = *stored;
            }
        }
    }
}

/// Undoes [`interleave`].
fn separate<const UNIT: usize>(panel: &[u8], size: usize, rows: &mut [u8]) {
    for (index, group) in panel.as_chunks::<UNIT>().0.chunks_exact(PANEL).enumerate() {
        for (unit, row) in group.iter().zip(rows.chunks_exact_mut(size)) {
            row[index * UNIT..][..UNIT].copy_from_slice(unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_were_laid_side_by_side_come_apart_again() {
        let rows: Vec<u8> =
            (0..PANEL * 6).map(|value| u8::try_from(value % 251).unwrap()).collect();
        let mut panel = vec![0; PANEL * 6];
        interleave::<2>(&rows, 6, &mut panel);
        assert_eq!(&panel[..4], &[rows[0], rows[1], rows[6], rows[7]]);
        let mut apart = vec![0; PANEL * 6];
        separate::<2>(&panel, 6, &mut apart);
        assert_eq!(apart, rows);
    }
}
