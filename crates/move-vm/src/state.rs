//! What a session holds of the chain's state: resources and table items read or changed so far.
//! Never writes to storage; changes leave as effects.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use crate::codec::{self, Layout};
use crate::failure::{Failure, Outcome};
use crate::gas::{Meter, cost};
use crate::loader::Loader;
use crate::source::Source;
use crate::types::{Ty, TyList};
use crate::value::{Composite, Shared, Value, length};
use crate::{AccountAddress, Context, Event, StateKey, StructTag, TypeTag};

/// A place in global storage.
pub(crate) struct Slot {
    /// What is there now.
    pub value: Option<Shared<Composite>>,
    /// Whether it may differ from `original`.
    pub dirty: bool,
    original: Option<Vec<u8>>,
    layout: Arc<Layout>,
}

impl Slot {
    fn read(bytes: Option<Vec<u8>>, layout: Arc<Layout>) -> Outcome<Self> {
        let value = match &bytes {
            None => None,
            Some(bytes) => match codec::decode(&layout, bytes)? {
                Value::Composite(content) => Some(content),
                _ => return Err(Failure::Other("FAILED_TO_DESERIALIZE_RESOURCE")),
            },
        };
        Ok(Self { value, dirty: false, original: bytes, layout })
    }

    /// The bytes to write, if they changed since the last flush.
    fn flush(&mut self) -> Outcome<Option<Option<Vec<u8>>>> {
        if !std::mem::take(&mut self.dirty) {
            return Ok(None);
        }
        let encode =
            |value: &Shared<Composite>| codec::encode_composite(&self.layout, &value.borrow());
        let bytes = self.value.as_ref().map(encode).transpose()?;
        if bytes == self.original {
            return Ok(None);
        }
        self.original.clone_from(&bytes);
        Ok(Some(bytes))
    }
}

/// A publication that code asked for.
pub(crate) struct PublishRequest {
    pub owner: AccountAddress,
    /// Names of the modules that the package's metadata lists.
    pub expected: Vec<Vec<u8>>,
    pub modules: Vec<Vec<u8>>,
}

/// A session's view of the chain.
pub(crate) struct State<'a> {
    pub loader: Loader,
    pub source: Source<'a>,
    pub context: Context,
    pub meter: Meter,
    pub events: Vec<Event>,
    /// Table handles made so far.
    pub tables_made: u32,
    /// Unique addresses made so far.
    pub addresses_made: u64,
    pub publish_request: Option<PublishRequest>,
    resources: HashMap<(AccountAddress, Ty), Slot>,
    items: HashMap<(AccountAddress, Vec<u8>), Slot>,
    /// Changes already encoded.
    pub pending: BTreeMap<StateKey, Option<Vec<u8>>>,
}

impl<'a> State<'a> {
    pub fn new(loader: Loader, source: Source<'a>, context: Context, meter: Meter) -> Self {
        Self {
            loader,
            source,
            context,
            meter,
            events: Vec::new(),
            tables_made: 0,
            addresses_made: 0,
            publish_request: None,
            resources: HashMap::new(),
            items: HashMap::new(),
            pending: BTreeMap::new(),
        }
    }

    /// The place of a resource.
    pub fn resource(&mut self, address: AccountAddress, ty: Ty) -> Outcome<&mut Slot> {
        if !self.resources.contains_key(&(address, ty)) {
            let tag = self.loader.tag(ty);
            let TypeTag::Struct(tag) = tag.as_ref() else {
                return Err(Failure::Other("TYPE_MISMATCH"));
            };
            let layout = self.loader.layout(ty, &self.source)?;
            let bytes = self.resource_bytes(address, tag)?;
            self.charge_read(bytes.as_deref())?;
            self.resources.insert((address, ty), Slot::read(bytes, layout)?);
        }
        let slot = self.resources.get_mut(&(address, ty));
        slot.ok_or(Failure::Other("UNKNOWN_INVARIANT_VIOLATION_ERROR"))
    }

    fn resource_bytes(&self, address: AccountAddress, tag: &StructTag) -> Outcome<Option<Vec<u8>>> {
        if !self.pending.is_empty() {
            let key = StateKey::Resource(address, tag.clone());
            if let Some(bytes) = self.pending.get(&key) {
                return Ok(bytes.clone());
            }
        }
        Ok(self.source.storage.resource(&address, tag)?)
    }

    /// The place of a table item whose value has type `ty`.
    pub fn item(&mut self, handle: AccountAddress, key: Vec<u8>, ty: Ty) -> Outcome<&mut Slot> {
        let place = (handle, key);
        if !self.items.contains_key(&place) {
            let layout = self.loader.layout(ty, &self.source)?;
            let pending = if self.pending.is_empty() {
                None
            } else {
                self.pending.get(&StateKey::TableItem(handle, place.1.clone())).cloned()
            };
            let bytes = match pending {
                Some(bytes) => bytes,
                None => self.source.storage.table_item(&handle, &place.1)?,
            };
            self.charge_read(bytes.as_deref())?;
            self.items.insert(place.clone(), Slot::read(bytes, layout)?);
        }
        let slot = self.items.get_mut(&place);
        slot.ok_or(Failure::Other("UNKNOWN_INVARIANT_VIOLATION_ERROR"))
    }

    fn charge_read(&mut self, bytes: Option<&[u8]>) -> Outcome<()> {
        let size = bytes.map_or(0, |bytes| length(bytes.len()));
        self.meter.charge_storage(cost::READ + size.saturating_mul(cost::READ_PER_BYTE))?;
        self.meter.allocate(size)
    }

    /// Whether a resource is there.
    pub fn exists(&mut self, address: AccountAddress, ty: Ty) -> Outcome<bool> {
        Ok(self.resource(address, ty)?.value.is_some())
    }

    /// The resource itself, for borrowing.
    pub fn borrow(
        &mut self,
        address: AccountAddress,
        ty: Ty,
        mutable: bool,
    ) -> Outcome<Shared<Composite>> {
        let slot = self.resource(address, ty)?;
        slot.dirty |= mutable;
        slot.value.as_ref().map(Rc::clone).ok_or(Failure::Execution("MISSING_DATA"))
    }

    /// Takes a resource out of storage.
    pub fn take(&mut self, address: AccountAddress, ty: Ty) -> Outcome<Value> {
        let slot = self.resource(address, ty)?;
        let value = slot.value.take().ok_or(Failure::Execution("MISSING_DATA"))?;
        slot.dirty = true;
        Ok(Value::Composite(value))
    }

    /// Puts a resource into storage.
    pub fn put(&mut self, address: AccountAddress, ty: Ty, value: Value) -> Outcome<()> {
        let slot = self.resource(address, ty)?;
        if slot.value.is_some() {
            return Err(Failure::Execution("RESOURCE_ALREADY_EXISTS"));
        }
        let Value::Composite(value) = value else {
            return Err(crate::failure::TYPE_CONFUSION);
        };
        slot.value = Some(value);
        slot.dirty = true;
        Ok(())
    }

    /// Encodes all changes into `pending`, charging for them if `charged`.
    pub fn flush(&mut self, charged: bool) -> Outcome<()> {
        let mut written = Vec::new();
        for ((address, ty), slot) in &mut self.resources {
            let Some(bytes) = slot.flush()? else { continue };
            if let TypeTag::Struct(tag) = self.loader.tag(*ty).as_ref() {
                written.push((StateKey::Resource(*address, tag.as_ref().clone()), bytes));
            }
        }
        for ((handle, key), slot) in &mut self.items {
            let Some(bytes) = slot.flush()? else { continue };
            written.push((StateKey::TableItem(*handle, key.clone()), bytes));
        }
        // The order of charging must not depend on that of the hash maps.
        written.sort();
        for (key, bytes) in written {
            if charged {
                let size = bytes.as_ref().map_or(0, |bytes| length(bytes.len()));
                let amount = cost::WRITE + size.saturating_mul(cost::WRITE_PER_BYTE);
                self.meter.charge_storage(amount)?;
            }
            self.pending.insert(key, bytes);
        }
        Ok(())
    }

    /// Starts linking afresh, because a module changed. No code may be running. Changes made so
    /// far are charged for if `charged`, as they are at the end of a session.
    pub fn relink(&mut self, charged: bool) -> Outcome<()> {
        self.flush(charged)?;
        self.resources.clear();
        self.items.clear();
        self.loader = Loader::default();
        Ok(())
    }

    /// Emits an event of type `ty`.
    pub fn emit(&mut self, ty: Ty, value: &Value) -> Outcome<()> {
        let layout = self.loader.layout(ty, &self.source)?;
        let data = codec::encode(&layout, value)?;
        let size = length(data.len());
        self.meter.charge(cost::EVENT + size.saturating_mul(cost::EVENT_PER_BYTE))?;
        self.meter.allocate(size)?;
        let type_tag = self.loader.tag(ty).as_ref().clone();
        self.events.push(Event { type_tag, data });
        Ok(())
    }

    /// The concrete types of a signature.
    pub fn signature(&mut self, module: u32, signature: u16, types: TyList) -> Outcome<TyList> {
        self.loader.signature(module, signature, types, &self.source)
    }
}
