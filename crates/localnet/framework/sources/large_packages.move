/// Publishing packages that are too large for one transaction: chunks are staged with the publisher, and the last
/// transaction publishes what is staged.
module aptos_experimental::large_packages {
    use std::error;
    use std::option::Option;
    use std::signer;
    use aptos_framework::code::{Self, PackageRegistry};
    use aptos_framework::object::Object;
    use aptos_framework::object_code_deployment;

    /// There must be as many indices as chunks.
    const ECODE_MISMATCH: u64 = 1;
    /// An upgrade must name the object.
    const EMISSING_OBJECT_REFERENCE: u64 = 2;
    // As a map without the entry would abort.
    const EMODULE_NOT_STAGED: u64 = 1;

    /// What a publisher has staged so far. Modules are in the order of their indices; one without bytes is missing.
    struct StagingArea has key {
        metadata_serialized: vector<u8>,
        code: vector<vector<u8>>,
        last_module_idx: u64,
    }

    /// Appends to what the signer has staged: to the metadata, and each chunk to the module of its index.
    /// Aborts if there are not as many indices as chunks.
    public entry fun stage_code_chunk(
        owner: &signer, metadata_chunk: vector<u8>, code_indices: vector<u16>, code_chunks: vector<vector<u8>>
    ) acquires StagingArea {
        stage(owner, metadata_chunk, code_indices, code_chunks)
    }

    /// Stages the last chunks and publishes everything under the signer's address; nothing stays staged.
    /// Aborts as `stage_code_chunk` and `code::publish_package_txn`.
    public entry fun stage_code_chunk_and_publish_to_account(
        owner: &signer, metadata_chunk: vector<u8>, code_indices: vector<u16>, code_chunks: vector<vector<u8>>
    ) acquires StagingArea {
        stage(owner, metadata_chunk, code_indices, code_chunks);
        let (metadata, code) = take(signer::address_of(owner));
        code::publish_package_txn(owner, metadata, code);
    }

    /// Stages the last chunks and publishes everything at a new object; nothing stays staged.
    /// Aborts as `stage_code_chunk` and `object_code_deployment::publish`.
    public entry fun stage_code_chunk_and_publish_to_object(
        owner: &signer, metadata_chunk: vector<u8>, code_indices: vector<u16>, code_chunks: vector<vector<u8>>
    ) acquires StagingArea {
        stage(owner, metadata_chunk, code_indices, code_chunks);
        let (metadata, code) = take(signer::address_of(owner));
        object_code_deployment::publish(owner, metadata, code);
    }

    /// Stages the last chunks and upgrades the package at an object; nothing stays staged.
    /// Aborts if no object is named, or as `stage_code_chunk` and `object_code_deployment::upgrade`.
    public entry fun stage_code_chunk_and_upgrade_object_code(
        owner: &signer,
        metadata_chunk: vector<u8>,
        code_indices: vector<u16>,
        code_chunks: vector<vector<u8>>,
        code_object: Option<Object<PackageRegistry>>,
    ) acquires StagingArea {
        assert!(code_object.is_some(), error::invalid_argument(EMISSING_OBJECT_REFERENCE));
        stage(owner, metadata_chunk, code_indices, code_chunks);
        let (metadata, code) = take(signer::address_of(owner));
        object_code_deployment::upgrade(owner, metadata, code, code_object.extract());
    }

    /// Forgets what the signer has staged. Aborts if it is nothing.
    public entry fun cleanup_staging_area(owner: &signer) acquires StagingArea {
        let StagingArea { metadata_serialized: _, code: _, last_module_idx: _ } =
            move_from<StagingArea>(signer::address_of(owner));
    }

    fun stage(
        owner: &signer, metadata_chunk: vector<u8>, code_indices: vector<u16>, code_chunks: vector<vector<u8>>
    ) acquires StagingArea {
        let count = code_chunks.length();
        assert!(code_indices.length() == count, error::invalid_argument(ECODE_MISMATCH));
        let publisher = signer::address_of(owner);
        if (!exists<StagingArea>(publisher)) {
            move_to(owner, StagingArea { metadata_serialized: vector[], code: vector[], last_module_idx: 0 });
        };
        let area = &mut StagingArea[publisher];
        area.metadata_serialized.append(metadata_chunk);
        let i = 0;
        while (i < count) {
            let index = (code_indices[i] as u64);
            while (area.code.length() <= index) area.code.push_back(vector[]);
            area.code.borrow_mut(index).append(code_chunks[i]);
            if (index > area.last_module_idx) area.last_module_idx = index;
            i += 1;
        };
    }

    // What is staged, in full; nothing stays.
    fun take(publisher: address): (vector<u8>, vector<vector<u8>>) acquires StagingArea {
        let StagingArea { metadata_serialized, code, last_module_idx: _ } = move_from<StagingArea>(publisher);
        assert!(!code.is_empty(), error::invalid_argument(EMODULE_NOT_STAGED));
        code.for_each_ref(|bytes| assert!(!bytes.is_empty(), error::invalid_argument(EMODULE_NOT_STAGED)));
        (metadata_serialized, code)
    }
}
