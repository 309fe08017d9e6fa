//! Authenticators as the official SDK builds them.

use aptos_sdk::account::{
    AnyPrivateKey, Ed25519Account, Ed25519SingleKeyAccount, MultiEd25519Account, MultiKeyAccount,
    Secp256k1Account,
};
use aptos_sdk::crypto::Ed25519PrivateKey;
use aptos_sdk::transaction::builder::{
    sign_fee_payer_transaction, sign_multi_agent_transaction, sign_transaction,
};
use aptos_sdk::transaction::types as sdk;
use aptos_sdk::transaction::{EntryFunction, TransactionBuilder};
use aptos_sdk::types::{AccountAddress as SdkAddress, ChainId};

use super::*;

fn raw(sender: SdkAddress) -> sdk::RawTransaction {
    TransactionBuilder::new()
        .sender(sender)
        .sequence_number(7)
        .payload(EntryFunction::apt_transfer(SdkAddress::ONE, 5).unwrap().into())
        .chain_id(ChainId::new(4))
        .expiration_timestamp_secs(1_900_000_000)
        .build()
        .unwrap()
}

/// The signed transaction is accepted, hashes as the SDK says, proves the keys of its signers,
/// and is refused as soon as one bit of a signature differs.
fn check(signed: &sdk::SignedTransaction, signers: &[SdkAddress]) -> Authenticated {
    let bytes = signed.to_bcs().unwrap();
    let authenticated = authenticate(bytes.clone()).unwrap();
    assert_eq!(authenticated.transaction.to_bytes().unwrap(), bytes);
    assert_eq!(authenticated.hash, *signed.hash().unwrap().as_bytes());
    let proven: Vec<_> = authenticated.signers.iter().map(|signer| signer.address.0).collect();
    let expected: Vec<_> = signers.iter().map(|address| address.to_bytes()).collect();
    assert_eq!(proven, expected);
    for signer in authenticated.signers.iter().chain(&authenticated.fee_payer) {
        assert_eq!(signer.authentication_key, Some(signer.address.0));
    }
    assert!(for_simulation(bytes).unwrap().is_none());
    let stripped = signed.for_simulate_endpoint().to_bcs().unwrap();
    assert!(for_simulation(stripped.clone()).unwrap().is_some());
    assert!(matches!(
        authenticate(stripped),
        Err(AuthenticationError::Refused(Refusal::InvalidSignature))
    ));
    let mut other = signed.clone();
    other.raw_txn.sequence_number += 1;
    assert!(matches!(
        authenticate(other.to_bcs().unwrap()),
        Err(AuthenticationError::Refused(Refusal::InvalidSignature))
    ));
    authenticated
}

#[test]
fn one_ed25519_key_signs() {
    let account = Ed25519Account::generate();
    check(&sign_transaction(&raw(account.address()), &account).unwrap(), &[account.address()]);
}

#[test]
fn a_single_key_account_signs() {
    let account = Ed25519SingleKeyAccount::generate();
    check(&sign_transaction(&raw(account.address()), &account).unwrap(), &[account.address()]);
}

#[test]
fn two_of_three_ed25519_keys_sign() {
    let keys = (0..3).map(|_| Ed25519PrivateKey::generate()).collect();
    let account = MultiEd25519Account::new(keys, 2).unwrap();
    check(&sign_transaction(&raw(account.address()), &account).unwrap(), &[account.address()]);
}

#[test]
fn two_of_three_keys_of_a_multi_key_account_sign() {
    let keys = (0..3).map(|_| AnyPrivateKey::ed25519(Ed25519PrivateKey::generate())).collect();
    let account = MultiKeyAccount::new(keys, 2).unwrap();
    check(&sign_transaction(&raw(account.address()), &account).unwrap(), &[account.address()]);
}

#[test]
fn several_accounts_sign_one_transaction() {
    let (sender, second) = (Ed25519Account::generate(), Ed25519SingleKeyAccount::generate());
    let transaction =
        sdk::MultiAgentRawTransaction::new(raw(sender.address()), vec![second.address()]);
    let signed = sign_multi_agent_transaction(&transaction, &sender, &[&second]).unwrap();
    check(&signed, &[sender.address(), second.address()]);
}

#[test]
fn a_fee_payer_signs_last_and_pays() {
    let (sender, payer) = (Ed25519Account::generate(), Ed25519Account::generate());
    let transaction =
        sdk::FeePayerRawTransaction::new(raw(sender.address()), Vec::new(), payer.address());
    let signed = sign_fee_payer_transaction(&transaction, &sender, &[], &payer).unwrap();
    let authenticated = check(&signed, &[sender.address()]);
    assert_eq!(authenticated.payer().0, *payer.address().as_bytes());
}

#[test]
fn a_sender_may_sign_before_the_fee_payer_is_known_but_the_payer_may_not() {
    let (sender, payer) = (Ed25519Account::generate(), Ed25519Account::generate());
    let unnamed =
        sdk::FeePayerRawTransaction::new(raw(sender.address()), Vec::new(), SdkAddress::ZERO);
    let named =
        sdk::FeePayerRawTransaction::new(raw(sender.address()), Vec::new(), payer.address());
    let early = sender.sign_message(&unnamed.signing_message().unwrap()).to_bytes().to_vec();
    let of = |account: &Ed25519Account, message: Vec<u8>| AccountAuthenticator::Ed25519 {
        public_key: account.public_key().to_bytes().to_vec(),
        signature: message,
    };
    let mut transaction = SignedTransaction::parse(
        &sign_fee_payer_transaction(&named, &sender, &[], &payer).unwrap().to_bcs().unwrap(),
    )
    .unwrap();
    let TransactionAuthenticator::FeePayer { sender: from, fee_payer_signer, .. } =
        &mut transaction.authenticator
    else {
        panic!("not sponsored");
    };
    *from = of(&sender, early);
    let payers_own = fee_payer_signer.clone();
    *fee_payer_signer =
        of(&payer, payer.sign_message(&unnamed.signing_message().unwrap()).to_bytes().to_vec());
    assert!(authenticate(transaction.to_bytes().unwrap()).is_err());
    let TransactionAuthenticator::FeePayer { fee_payer_signer, .. } =
        &mut transaction.authenticator
    else {
        panic!("not sponsored");
    };
    *fee_payer_signer = payers_own;
    assert!(authenticate(transaction.to_bytes().unwrap()).is_ok());
}

#[test]
fn one_secp256k1_key_signs_in_one_way_only() {
    let account = Secp256k1Account::generate();
    let signed = sign_transaction(&raw(account.address()), &account).unwrap();
    let mut transaction = check(&signed, &[account.address()]).transaction;
    let TransactionAuthenticator::SingleSender {
        sender:
            AccountAuthenticator::SingleKey { signature: AnySignature::Secp256k1Ecdsa(bytes), .. },
    } = &mut transaction.authenticator
    else {
        panic!("not one secp256k1 key");
    };
    let (r, s) = k256::ecdsa::Signature::from_slice(bytes).unwrap().split_scalars();
    // The mirror image is as valid an ECDSA signature, and would be another transaction hash.
    *bytes = k256::ecdsa::Signature::from_scalars(r, -s).unwrap().to_bytes().to_vec();
    let refused = authenticate(transaction.to_bytes().unwrap());
    assert!(matches!(refused, Err(AuthenticationError::Refused(Refusal::InvalidSignature))));
}

#[test]
fn nobody_signs_twice_and_every_secondary_signer_signs() {
    let (sender, second) = (Ed25519Account::generate(), Ed25519Account::generate());
    let twice = sdk::MultiAgentRawTransaction::new(raw(sender.address()), vec![sender.address()]);
    let signed = sign_multi_agent_transaction(&twice, &sender, &[&sender]).unwrap();
    assert!(matches!(
        authenticate(signed.to_bcs().unwrap()),
        Err(AuthenticationError::Refused(Refusal::DuplicateSigners))
    ));
    let missing = sdk::MultiAgentRawTransaction::new(raw(sender.address()), vec![second.address()]);
    let signed = sign_multi_agent_transaction(&missing, &sender, &[]).unwrap();
    assert!(matches!(
        authenticate(signed.to_bcs().unwrap()),
        Err(AuthenticationError::Refused(Refusal::SecondarySignerCount))
    ));
}

#[test]
fn bytes_after_or_missing_from_a_transaction_make_it_malformed() {
    let account = Ed25519Account::generate();
    let signed = sign_transaction(&raw(account.address()), &account).unwrap();
    let bytes = signed.to_bcs().unwrap();
    let mut longer = bytes.clone();
    longer.push(0);
    for malformed in [&longer[..], &bytes[..bytes.len() - 1], &[], &[0xff; 64]] {
        let parsed = authenticate(malformed.to_vec());
        assert!(matches!(parsed, Err(AuthenticationError::Malformed(_))));
    }
}
