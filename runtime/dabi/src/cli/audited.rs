//! What commands that look at a pipeline from outside need of it.

use crate::config::Settings;
use crate::lake::Lake;
use crate::pipeline::{Loaded, Status, load_transforms};
use crate::transform::Runtime;
use crate::warehouse::Warehouse;

/// A pipeline, for reading.
pub(super) struct Audited {
    pub(super) lake: Lake,
    pub(super) warehouse: Warehouse,
    pub(super) loaded: Vec<Loaded>,
}

impl Audited {
    /// Opens lake and warehouse, and loads the transforms.
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let warehouse = Warehouse::open(&settings.warehouse)?;
        let lake = Lake::open(&settings.lake)?;
        let runtime = Runtime::new(settings.transforms.runtime())?;
        let loaded = load_transforms(&settings.transforms, &runtime, &Status::default()).await?;
        Ok(Self { lake, warehouse, loaded })
    }
}
