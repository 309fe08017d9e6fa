//! What a node serves, made ready: models loaded here, fetched from a hub first if need be, or those of
//! an engine. It takes no task.

use crate::{
    config::Config,
    hub::{Hub, HubConfig},
    remote::{RemoteConfig, RemoteModel},
    replicas::Replicas,
    shelf::ServedModel,
    source::{EngineSource, LocalModel, Source},
};
use anyhow::Context;
use cactus_inference::{
    Device, DeviceChoice, EmbeddingModel, LoadError, LoadOptions, Model,
    load::{ModelKind, kind},
};
use std::{path::Path, sync::Arc};
use tokio::task::spawn_blocking;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Everything that `config` names. What looks after an engine runs on `engines`.
pub(crate) async fn all(
    config: &Config,
    engines: &TaskTracker,
    shutdown: &CancellationToken,
) -> anyhow::Result<Vec<ServedModel>> {
    match &config.source {
        Source::Local(models) => {
            let devices = open_devices(&config.devices).await?;
            local_models(config, models, &devices, shutdown).await
        }
        Source::Engine(engine) => remote_models(config, engine, engines, shutdown).await,
    }
}

/// Opens what was chosen, and says what it is.
async fn open_devices(choices: &[DeviceChoice]) -> anyhow::Result<Vec<Device>> {
    let choices = choices.to_vec();
    let opening = spawn_blocking(move || {
        choices.into_iter().map(Device::open).collect::<Result<Vec<_>, _>>()
    });
    let devices = opening.await?.context("cannot compute there; see --device")?;
    for device in &devices {
        tracing::info!("computing on {device}");
    }
    Ok(devices)
}

async fn local_models(
    config: &Config,
    sources: &[LocalModel],
    devices: &[Device],
    shutdown: &CancellationToken,
) -> anyhow::Result<Vec<ServedModel>> {
    let mut models = Vec::new();
    for source in sources {
        models.push(match source {
            LocalModel::Directory(folder) => load(config, folder, devices, None).await?,
            LocalModel::Hub(model, hub) => {
                let hub = Hub::new(HubConfig::clone(hub))?;
                let fetched = shutdown.run_until_cancelled(hub.fetch(model)).await;
                let folder = fetched.context("stopped during a download")?;
                let folder = folder.with_context(|| format!("cannot get {model}"))?;
                load(config, &folder, devices, Some(model.id())).await?
            }
        });
    }
    Ok(models)
}

/// Waits for the engine, and looks after it from then on.
async fn remote_models(
    config: &Config,
    engine: &EngineSource,
    engines: &TaskTracker,
    shutdown: &CancellationToken,
) -> anyhow::Result<Vec<ServedModel>> {
    let mut models = Vec::new();
    for model in &engine.models {
        let remote = RemoteConfig {
            url: engine.url.clone(),
            key: engine.key.clone(),
            model: model.clone(),
            context_length: engine.context_length,
            slots: usize::from(config.slots),
            queue: usize::from(config.queue),
            limits: engine.limits.clone(),
        };
        let remote = RemoteModel::connect(remote, shutdown).await;
        let remote = Arc::new(remote.with_context(|| format!("cannot sell {}", engine.url))?);
        engines.spawn(Arc::clone(&remote).watch(shutdown.clone()));
        models.push(ServedModel::Text(remote));
    }
    Ok(models)
}

/// Loads a directory as what its configuration says that it is, once on each device. Models that make
/// vectors are computed on the processor. Without an `id` it is served under the directory's name.
async fn load(
    config: &Config,
    folder: &Path,
    devices: &[Device],
    id: Option<String>,
) -> anyhow::Result<ServedModel> {
    let share = |count: u16| usize::from(count).div_ceil(devices.len().max(1));
    let options = LoadOptions {
        id,
        threads: config.threads,
        slots: share(config.slots),
        queue: share(config.queue),
        tokens_per_second_limit: config.tokens_per_second_limit,
        ..LoadOptions::new(folder)
    };
    let devices = devices.to_vec();
    let loading = spawn_blocking(move || match kind(&options.dir)? {
        ModelKind::Chat => {
            let on = |device| Model::load(LoadOptions { device, ..options.clone() });
            let models = devices.into_iter().map(on).collect::<Result<Vec<_>, _>>()?;
            let none = || LoadError::NoDevice("none was chosen".to_owned());
            Replicas::of(models).map(ServedModel::Text).ok_or_else(none)
        }
        ModelKind::Embedding => {
            EmbeddingModel::load(options).map(|model| ServedModel::Vectors(Arc::new(model)))
        }
    });
    let model = loading.await?.with_context(|| format!("cannot load {}", folder.display()))?;
    tracing::info!(id = model.id(), revision = %model.revision(), "model loaded");
    Ok(model)
}
