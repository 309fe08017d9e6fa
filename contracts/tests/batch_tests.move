#[test_only]
/// Settling many tasks at once.
module cactus::batch_tests {
    use cactus::config;
    use cactus::payment;
    use cactus::reputation;
    use cactus::server_registry;
    use cactus::task;
    use cactus::world::{Self, Person};

    const SERVER: address = @0x5e1;
    const OPERATOR: address = @0x0c1;
    const LOCK: u64 = 10000;

    /// Two clients, each with tasks `id(1)` to `id(3)`.
    fun start(): (Person, Person) {
        world::start();
        world::authorized_server(SERVER);
        let node = world::working_operator(OPERATOR);
        let (a, b) = (world::client(world::apt()), world::client(world::apt()));
        let n: u8 = 1;
        while (n <= 3) {
            world::create_task(&a, n, OPERATOR, node, LOCK);
            world::create_task(&b, n, OPERATOR, node, LOCK);
            n += 1;
        };
        (a, b)
    }

    /// Each task with 1,000 prompt tokens: 500 octas.
    fun complete(server: address, clients: vector<address>, ids: vector<u8>) {
        let (tasks, prompts, outputs, compute, hashes) = (vector[], vector[], vector[], vector[], vector[]);
        ids.for_each_ref(|id| {
            tasks.push_back(world::id(*id));
            prompts.push_back(1000);
            outputs.push_back(0);
            compute.push_back(1);
            hashes.push_back(world::id(9));
        });
        payment::complete_tasks(&world::sign_as(server), clients, tasks, prompts, outputs, compute, hashes);
    }

    fun state(client: address, id: u8): u8 {
        let (state, _, _, _, _, _, _, _) = task::unpack_for_test(payment::task(client, world::id(id)));
        state
    }

    #[test]
    fun tasks_of_several_clients_settle_at_once_even_during_a_pause() {
        let (a, b) = start();
        let (a, b) = (world::address_of(&a), world::address_of(&b));
        config::pause_all_for_test();
        complete(SERVER, vector[a, b, a], vector[1, 1, 2]);
        assert!(state(a, 1) == 2 && state(b, 1) == 2 && state(a, 2) == 2 && state(b, 2) == 1, 1);
        let (served, _, _, volume, _, _) = reputation::unpack_for_test(reputation::of(OPERATOR));
        assert!(served == 3 && volume == 3 * 470, 2);
        world::assert_conserved(vector[a, b, SERVER, OPERATOR]);
    }

    #[test]
    fun a_task_that_is_final_is_passed_over_and_paid_once() {
        let (a, b) = start();
        let (a, b) = (world::address_of(&a), world::address_of(&b));
        payment::fail_task(&world::sign_as(SERVER), a, world::id(1), 3);
        complete(SERVER, vector[a, b, b], vector[1, 1, 1]);
        assert!(state(a, 1) == 3 && state(b, 1) == 2, 1);
        assert!(payment::order_used(b, world::id(1)) == 500 + 2 * LOCK, 2);
        world::assert_conserved(vector[a, b, SERVER, OPERATOR]);
    }

    #[test]
    fun an_overdue_task_is_passed_over() {
        let (a, _) = start();
        let a = world::address_of(&a);
        world::wait(601);
        complete(SERVER, vector[a], vector[1]);
        assert!(state(a, 1) == 1, 1);
    }

    #[test]
    fun an_unknown_task_or_client_is_passed_over() {
        let (a, b) = start();
        let (a, b) = (world::address_of(&a), world::address_of(&b));
        complete(SERVER, vector[@0x77, b, a], vector[1, 77, 1]);
        assert!(state(a, 1) == 2 && state(b, 77) == 0, 1);
        world::assert_conserved(vector[a, b, SERVER, OPERATOR]);
    }

    #[test]
    fun another_servers_task_is_passed_over() {
        let (a, b) = start();
        let (a, b) = (world::address_of(&a), world::address_of(&b));
        world::authorized_server(@0x5e2);
        complete(@0x5e2, vector[a], vector[1]);
        assert!(state(a, 1) == 1, 1);
        world::assert_conserved(vector[a, b, SERVER, OPERATOR, @0x5e2]);
    }

    #[test]
    fun an_unsound_report_is_passed_over() {
        let (a, _) = start();
        let a = world::address_of(&a);
        payment::complete_tasks(
            &world::sign_as(SERVER), vector[a, a, a], vector[world::id(1), world::id(2), world::id(3)],
            vector[1, 1000000001, 1000], vector[1, 1, 0], vector[1, 1, 1], vector[x"09", world::id(9), world::id(9)]
        );
        assert!(state(a, 1) == 1 && state(a, 2) == 1 && state(a, 3) == 2, 1);
    }

    #[test]
    fun a_task_that_is_twice_in_a_batch_is_paid_once() {
        let (a, _) = start();
        let a = world::address_of(&a);
        complete(SERVER, vector[a, a], vector[1, 1]);
        let (served, _, _, volume, _, _) = reputation::unpack_for_test(reputation::of(OPERATOR));
        assert!(served == 1 && volume == 470, 1);
    }

    #[test]
    fun a_batch_settles_a_delivered_task_on_the_servers_word() {
        let (a, _) = start();
        let a = world::address_of(&a);
        payment::deliver_task(&world::sign_as(OPERATOR), a, world::id(1), 1000000, 0, 1, world::id(8));
        complete(SERVER, vector[a], vector[1]);
        let (served, _, _, volume, _, _) = reputation::unpack_for_test(reputation::of(OPERATOR));
        assert!(state(a, 1) == 2 && served == 1 && volume == 470, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x50006, location = cactus::server_registry)]
    fun a_revoked_server_settles_no_batch() {
        let (a, _) = start();
        server_registry::revoke_server(&world::admin(), SERVER);
        complete(SERVER, vector[world::address_of(&a)], vector[1]);
    }

    #[test]
    #[expected_failure(abort_code = 0x1000c, location = cactus::payment)]
    fun the_lists_are_of_one_length() {
        let (a, _) = start();
        complete(SERVER, vector[world::address_of(&a)], vector[1, 2]);
    }

    #[test]
    #[expected_failure(abort_code = 0x1000c, location = cactus::payment)]
    fun an_empty_batch_is_refused() {
        start();
        complete(SERVER, vector[], vector[]);
    }

    #[test]
    #[expected_failure(abort_code = 0x1000c, location = cactus::payment)]
    fun a_batch_has_at_most_a_hundred_tasks() {
        let (a, _) = start();
        let (clients, ids) = (vector[], vector[]);
        while (clients.length() <= 100) {
            clients.push_back(world::address_of(&a));
            ids.push_back(1);
        };
        complete(SERVER, clients, ids);
    }
}
