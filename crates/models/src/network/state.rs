//! Parameters as PyTorch saves them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use thalweg_autodiff::Number;
use thalweg_core::{Float, Params, Tensor};

use super::Network;
use crate::saved::write_whole;

/// Why parameters were not read or not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file cannot be read or written.
    #[error("cannot access the parameters {}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Cut short, or not a safetensors file.
    #[error("this is no whole safetensors file")]
    Broken(#[from] safetensors::SafeTensorError),
    /// Tensors of another network: every difference.
    #[error("these are another network's parameters: {}", .found.join("; "))]
    Mismatch {
        /// The differences.
        found: Vec<String>,
    },
}

/// What PyTorch counts in batch norm beside means and variances; it changes nothing here.
const COUNTER: &str = "num_batches_tracked";

impl<F: Float + Number> Network<F> {
    /// The parameters and what is kept beside them as a safetensors file: names and shapes of the `state_dict` of the same
    /// `torch.nn.Sequential`.
    ///
    /// # Errors
    /// When the format cannot hold them.
    pub fn state_to_bytes(&self, theta: &Params<F>) -> Result<Vec<u8>, StateError> {
        let statistics = self.statistics();
        let own = self.layout.tensors().iter().map(|t| (t, theta));
        let kept = statistics.layout().tensors().iter().map(|t| (t, &statistics));
        let (dtype, single) = (dtype::<F>(), F::BYTES == 4);
        let all: Vec<(&str, Dtype, &[usize], Vec<u8>)> = own
            .chain(kept)
            .map(|(t, values)| {
                let numbers = values.flat()[t.range()].iter().map(|&x| Float::to_f64(x));
                let bytes = match single {
                    true => numbers.flat_map(|x| (x as f32).to_le_bytes()).collect(),
                    false => numbers.flat_map(f64::to_le_bytes).collect(),
                };
                (t.name.as_str(), dtype, &t.shape[..], bytes)
            })
            .collect();
        let views = all.iter().map(|(name, dtype, shape, bytes)| {
            TensorView::new(*dtype, shape.to_vec(), bytes).map(|view| (*name, view))
        });
        Ok(safetensors::serialize(views.collect::<Result<Vec<_>, _>>()?, None)?)
    }

    /// Parameters from a safetensors file in `f32` or `f64`, under PyTorch's names; running means and variances become the
    /// network's own.
    ///
    /// # Errors
    /// Tensors that are missing, have another shape or are no floats, or that the network has not: all of them. Nothing is changed.
    pub fn state_from_bytes(&self, bytes: &[u8]) -> Result<Params<F>, StateError> {
        let tensors = SafeTensors::deserialize(bytes)?;
        let mut statistics = self.statistics();
        let mut theta = Params::zeros(&self.layout);
        let kept = statistics.layout().clone();
        let expected: BTreeMap<&str, &Tensor> =
            self.layout.tensors().iter().chain(kept.tensors()).map(|t| (t.name.as_str(), t)).collect();
        let mut found: Vec<String> = Vec::new();
        for (name, tensor) in &expected {
            match tensors.tensor(name) {
                Err(_) => found.push(format!("{name} {:?} is missing", tensor.shape)),
                Ok(t) if t.shape() != tensor.shape => {
                    found.push(format!("{name} has shape {:?}, expected {:?}", t.shape(), tensor.shape));
                }
                Ok(t) if !matches!(t.dtype(), Dtype::F32 | Dtype::F64) => {
                    found.push(format!("{name} is {}, expected F32 or F64", t.dtype()));
                }
                Ok(_) => {}
            }
        }
        let known = |name: &str| expected.contains_key(name) || name.ends_with(COUNTER);
        let mut surplus: Vec<&str> = tensors.names().into_iter().filter(|name| !known(name)).collect();
        surplus.sort_unstable();
        found.extend(surplus.into_iter().map(|name| format!("{name} is unknown")));
        if !found.is_empty() {
            return Err(StateError::Mismatch { found });
        }
        read(&tensors, &mut theta);
        read(&tensors, &mut statistics);
        self.set_statistics(&statistics);
        Ok(theta)
    }

    /// Writes [`Network::state_to_bytes`] to a file, whole or not at all.
    ///
    /// # Errors
    /// The file and why.
    pub fn save_state(&self, theta: &Params<F>, file: &Path) -> Result<(), StateError> {
        let bytes = self.state_to_bytes(theta)?;
        write_whole(file, |to| to.write_all(&bytes))
            .map_err(|source| StateError::Io { file: file.into(), source })
    }

    /// Reads a file by [`Network::state_from_bytes`].
    ///
    /// # Errors
    /// The file and why, and as there.
    pub fn load_state(&self, file: &Path) -> Result<Params<F>, StateError> {
        let bytes = std::fs::read(file).map_err(|source| StateError::Io { file: file.into(), source })?;
        self.state_from_bytes(&bytes)
    }
}

fn dtype<F: Float>() -> Dtype {
    if F::BYTES == 4 { Dtype::F32 } else { Dtype::F64 }
}

/// Fills `values` from tensors that fit.
fn read<F: Float>(tensors: &SafeTensors<'_>, values: &mut Params<F>) {
    let layout = values.layout().clone();
    for tensor in layout.tensors() {
        let Ok(view) = tensors.tensor(&tensor.name) else { continue };
        let to = &mut values.flat_mut()[tensor.range()];
        match view.dtype() {
            Dtype::F32 => {
                let numbers = view.data().as_chunks().0.iter();
                to.iter_mut()
                    .zip(numbers)
                    .for_each(|(x, &b)| *x = F::from_f64(f64::from(f32::from_le_bytes(b))));
            }
            _ => {
                let numbers = view.data().as_chunks().0.iter();
                to.iter_mut().zip(numbers).for_each(|(x, &b)| *x = F::from_f64(f64::from_le_bytes(b)));
            }
        }
    }
}
