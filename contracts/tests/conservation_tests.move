#[test_only]
/// Long random sequences of operations by several actors; after each one every coin must be in exactly one place.
module cactus::conservation_tests {
    use std::bcs;
    use aptos_framework::timestamp;
    use cactus::escrow;
    use cactus::payment;
    use cactus::server_registry;
    use cactus::stake;
    use cactus::task;
    use cactus::treasury;
    use cactus::world::{Self, Person};

    const SERVER: address = @0x5e1;
    const SWEPT: address = @0x7e;
    const ACCUSER: address = @0xacc;
    const OPERATIONS: u64 = 250;

    struct State has drop {
        seed: vector<u8>,
        clients: vector<Person>,
        operators: vector<address>,
        nodes: vector<vector<u8>>,
        /// Client and task id of every task ever created.
        task_clients: vector<u64>,
        tasks: vector<vector<u8>>,
        slashes: u64,
        withdrawn: u64,
        settled: u64,
    }

    /// A number below `bound`, from a hash chain, so that a seed names one sequence.
    fun random(state: &mut State, bound: u64): u64 {
        state.seed = std::hash::sha3_256(state.seed);
        let number = 0;
        let i = 0;
        while (i < 7) {
            number = (number << 8) + (state.seed[i] as u64);
            i += 1;
        };
        number % bound
    }

    fun start(seed: u64): State {
        world::start();
        world::authorized_server(SERVER);
        let operators = vector[@0x0c1, @0x0c2];
        let nodes = vector[world::working_operator(@0x0c1), world::working_operator(@0x0c2)];
        let clients = vector[];
        while (clients.length() < 3) {
            let client = world::client(2 * world::apt());
            world::fund(world::address_of(&client), world::apt());
            clients.push_back(client);
        };
        State {
            seed: bcs::to_bytes(&seed), clients, operators, nodes, task_clients: vector[], tasks: vector[],
            slashes: 0, withdrawn: 0, settled: 0,
        }
    }

    fun check(state: &State) {
        let everyone = vector[SERVER, SWEPT, ACCUSER];
        everyone.append(state.operators);
        state.clients.for_each_ref(|client| everyone.push_back(world::address_of(client)));
        world::assert_conserved(everyone);
    }

    fun move_deposit(state: &mut State, client: &Person) {
        let signer = &world::signer_of(client);
        let (available, _) = escrow::unpack_for_test(payment::balance(world::address_of(client)));
        let coins = world::coins(world::address_of(client));
        let (requested, due) = escrow::request_for_test(payment::balance(world::address_of(client)));
        if (random(state, 2) == 0 && coins > 0) payment::deposit(signer, 1 + random(state, coins))
        else if (requested > 0 && random(state, 8) == 0) payment::cancel_withdraw(signer)
        else if (requested > 0 && available > 0 && timestamp::now_seconds() >= due) {
            payment::withdraw(signer);
            state.withdrawn += 1;
        } else if (requested == 0 && available > 0) payment::request_withdraw(signer, 1 + random(state, available));
    }

    fun create(state: &mut State, client_index: u64) {
        let client = state.clients[client_index];
        let address = world::address_of(&client);
        let (available, _) = escrow::unpack_for_test(payment::balance(address));
        let i = random(state, 2);
        let (bonded, _, _, _) = stake::unpack_for_test(stake::stake_of(state.operators[i]));
        if (available == 0 || bonded < world::apt()) return;
        let most = if (available < 1000000) available else 1000000;
        let lock = 1 + random(state, most);
        let now = timestamp::now_seconds();
        let order_id = world::id((random(state, 4) as u8));
        let task_id = std::hash::sha3_256(bcs::to_bytes(&state.tasks.length()));
        let order = payment::new_order_for_test(
            world::chain_id(), address, SERVER, order_id, 100 * world::apt(), 1000000, now + 1
        );
        payment::create_task(
            &world::sign_as(SERVER), address, world::public_key_of(&client), order_id, 100 * world::apt(), 1000000,
            now + 1, world::sign(&client, order), task_id, state.operators[i], state.nodes[i], lock,
            random(state, 100000), random(state, 100000), now + 60 + random(state, 3540)
        );
        state.tasks.push_back(task_id);
        state.task_clients.push_back(client_index);
    }

    fun end(state: &mut State) {
        if (state.tasks.is_empty()) return;
        let count = state.tasks.length();
        let i = random(state, count);
        let task_id = state.tasks[i];
        let client = world::address_of(&state.clients[state.task_clients[i]]);
        let (status, _, _, _, _, _, _, deadline) =
            task::unpack_for_test(payment::task(client, task_id));
        if (status != 1) return;
        let server = &world::sign_as(SERVER);
        if (timestamp::now_seconds() > deadline) {
            payment::refund_expired(&world::sign_as(ACCUSER), client, task_id);
        } else if (random(state, 3) == 0) {
            payment::fail_task(server, client, task_id, 1 + (random(state, 3) as u8));
        } else {
            let (prompt_tokens, output_tokens) = (random(state, 10000), random(state, 10000));
            payment::complete_task(server, client, task_id, prompt_tokens, output_tokens, 5, world::id(1));
            state.settled += 1;
        };
    }

    fun move_stake(state: &mut State, operator: address) {
        let signer = &world::sign_as(operator);
        let (bonded, unbonding, withdrawable, _) = stake::unpack_for_test(stake::stake_of(operator));
        let choice = random(state, 5);
        let coins = world::coins(operator);
        if (choice == 0 && coins > 0) stake::bond(signer, 1 + random(state, coins))
        else if (choice == 1 && bonded > 0 && unbonding < bonded) {
            // Putting some back first keeps the entries below sixteen.
            if (withdrawable == 0 && unbonding > 0) stake::rebond(signer, 1 + random(state, unbonding));
            stake::begin_unbond(signer, 1 + random(state, bonded / 3 + 1));
        } else if (choice == 2 && unbonding > 0) stake::rebond(signer, unbonding)
        else if (choice == 3 && withdrawable > 0) stake::withdraw(signer)
        else if (choice == 4 && bonded + unbonding > 0) {
            state.slashes += 1;
            world::slash(operator, 1 + random(state, 10000000), ACCUSER);
        };
    }

    fun sweep(state: &mut State) {
        if (treasury::due(SERVER) > 0) treasury::sweep(&world::admin(), SERVER, SWEPT);
        if (random(state, 2) == 0 && treasury::balance() > 0) treasury::sweep_slashed(&world::admin(), SWEPT);
    }

    fun run(seed: u64) {
        let state = start(seed);
        let n = 0;
        while (n < OPERATIONS) {
            let choice = random(&mut state, 12);
            let client = random(&mut state, 3);
            let operator_index = random(&mut state, 2);
            let operator = state.operators[operator_index];
            if (choice < 2) {
                let person = state.clients[client];
                move_deposit(&mut state, &person)
            } else if (choice < 5) create(&mut state, client)
            else if (choice < 8) end(&mut state)
            else if (choice < 10) move_stake(&mut state, operator)
            else if (choice == 10) sweep(&mut state)
            else world::wait(random(&mut state, 86400) / (1 + random(&mut state, 1000)));
            check(&state);
            n += 1;
        };
        // A sequence in which nothing was ever settled would prove little.
        assert!(state.settled > 0 && state.slashes > 0 && state.withdrawn > 0, 1);
        server_registry::remove_server(&world::sign_as(SERVER));
        check(&state);
    }

    #[test]
    fun no_coin_is_lost_in_a_first_random_sequence() { run(1) }

    #[test]
    fun no_coin_is_lost_in_a_second_random_sequence() { run(2) }

    #[test]
    fun no_coin_is_lost_in_a_third_random_sequence() { run(3) }

    #[test]
    fun no_coin_is_lost_in_a_fourth_random_sequence() { run(4) }
}
