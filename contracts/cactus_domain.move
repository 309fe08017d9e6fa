/// Domains of work: what pools may be about and how their work is validated. Holds no money.
module cactus::domain {
    use std::error;
    use std::signer;
    use std::string::{Self, String};
    use aptos_std::table::{Self, Table};
    use aptos_framework::event;
    use cactus::config;

    //
    // Errors
    //

    /// A name must be 1 to 64 bytes.
    const EBAD_NAME: u64 = 1;
    /// Another domain has this name.
    const ENAME_TAKEN: u64 = 2;
    /// The validation logic must be named in 1 to 64 bytes, and the URI must be 1 to 512 bytes.
    const EBAD_DESCRIPTION: u64 = 3;
    /// There is no domain of this id.
    const ENO_DOMAIN: u64 = 4;

    //
    // Constants
    //

    const MAX_NAME_BYTES: u64 = 64;
    const MAX_URI_BYTES: u64 = 512;

    //
    // Structs
    //

    /// All domains. At the contract's address. New domains are rare, so counting them here stops nobody.
    enum Domains has key {
        V1 {
            /// The first is 1.
            next_id: u64,
            domains: Table<u64, Domain>,
            ids: Table<String, u64>,
        }
    }

    enum Domain has copy, drop, store {
        V1 {
            name: String,
            /// The name of a validator program and its version.
            validation_logic: String,
            parameters_uri: String,
        }
    }

    /// What `domain` answers; all empty if there is none.
    struct DomainView has copy, drop {
        name: String,
        validation_logic: String,
        parameters_uri: String,
    }

    //
    // Events
    //

    #[event]
    enum DomainCreated has drop, store {
        V1 { federator: address, id: u64, name: String, validation_logic: String, parameters_uri: String }
    }

    #[event]
    enum DomainUpdated has drop, store {
        V1 { federator: address, id: u64, validation_logic: String, parameters_uri: String }
    }

    //
    // Views
    //

    #[view]
    /// All about a domain.
    public fun domain(id: u64): DomainView acquires Domains {
        let domains = &Domains[@cactus].domains;
        if (!domains.contains(id)) {
            let empty = string::utf8(b"");
            return DomainView { name: empty, validation_logic: empty, parameters_uri: empty }
        };
        let record = domains.borrow(id);
        DomainView {
            name: record.name, validation_logic: record.validation_logic, parameters_uri: record.parameters_uri,
        }
    }

    #[view]
    /// The id of the domain of this name; 0 if there is none.
    public fun id_of(name: String): u64 acquires Domains {
        *Domains[@cactus].ids.borrow_with_default(name, &0)
    }

    //
    // Entry functions
    //

    fun init_module(publisher: &signer) {
        move_to(publisher, Domains::V1 { next_id: 1, domains: table::new(), ids: table::new() });
    }

    /// A federator creates a domain. Its id is in the event `DomainCreated`.
    ///
    /// Aborts if pools are paused, the caller is not a federator, the name is empty, too long or taken, or the
    /// validation logic or the URI is empty or too long.
    public entry fun create_domain(
        federator: &signer, name: String, validation_logic: String, parameters_uri: String
    ) acquires Domains {
        config::assert_may_pool();
        config::assert_federator(federator);
        assert!(name.length() > 0 && name.length() <= MAX_NAME_BYTES, error::invalid_argument(EBAD_NAME));
        assert_description(&validation_logic, &parameters_uri);
        let domains = &mut Domains[@cactus];
        assert!(!domains.ids.contains(name), error::already_exists(ENAME_TAKEN));
        let id = domains.next_id;
        domains.next_id += 1;
        domains.ids.add(name, id);
        domains.domains.add(id, Domain::V1 { name, validation_logic, parameters_uri });
        event::emit(DomainCreated::V1 {
            federator: signer::address_of(federator), id, name, validation_logic, parameters_uri,
        });
    }

    /// A federator changes how a domain's work is validated. Its name and id stay.
    ///
    /// Aborts if the caller is not a federator, there is no such domain, or the validation logic or the URI is empty or
    /// too long.
    public entry fun update_domain(
        federator: &signer, id: u64, validation_logic: String, parameters_uri: String
    ) acquires Domains {
        config::assert_federator(federator);
        assert_description(&validation_logic, &parameters_uri);
        assert_exists(id);
        let domains = &mut Domains[@cactus].domains;
        let record = domains.borrow_mut(id);
        record.validation_logic = validation_logic;
        record.parameters_uri = parameters_uri;
        event::emit(DomainUpdated::V1 {
            federator: signer::address_of(federator), id, validation_logic, parameters_uri,
        });
    }

    //
    // For the other modules
    //

    /// Aborts if there is no such domain.
    package fun assert_exists(id: u64) acquires Domains {
        assert!(Domains[@cactus].domains.contains(id), error::not_found(ENO_DOMAIN));
    }

    //
    // Helpers
    //

    fun assert_description(validation_logic: &String, parameters_uri: &String) {
        let (logic, uri) = (validation_logic.length(), parameters_uri.length());
        assert!(
            logic > 0 && logic <= MAX_NAME_BYTES && uri > 0 && uri <= MAX_URI_BYTES,
            error::invalid_argument(EBAD_DESCRIPTION)
        );
    }

    #[test_only]
    public fun init_for_test(publisher: &signer) {
        init_module(publisher)
    }

    #[test_only]
    public fun unpack_for_test(self: DomainView): (String, String, String) {
        (self.name, self.validation_logic, self.parameters_uri)
    }
}
