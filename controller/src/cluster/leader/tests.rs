//! Two leaders at one time never happen, whatever is lost or late; and somebody leads in the end.

use proptest::prelude::*;

use super::*;

/// The API server's Lease with its resourceVersion.
#[derive(Debug, Clone, Default)]
struct Server {
    record: Record,
    version: u64,
    renewals: u64,
}

/// A replica: what it read last and has not written yet, and when it read it.
struct Replica {
    elector: Elector,
    read: Option<(Record, u64, Instant)>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Read(usize),
    Write { replica: usize, is_answer_lost: bool },
    Pass(u64),
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..3).prop_map(Step::Read),
        4 => ((0_usize..3), proptest::bool::weighted(0.2)).prop_map(|(replica, is_answer_lost)| Step::Write { replica, is_answer_lost }),
        3 => (1_u64..4_000).prop_map(Step::Pass),
        1 => (0_usize..3).prop_map(Step::Restart),
    ]
}

fn replica(index: usize) -> Replica {
    Replica { elector: Elector::new(format!("r{index}")), read: None }
}

fn take(server: &mut Server, replica: &mut Replica, index: usize, now: Instant, is_answer_lost: bool) {
    let Some((record, version, begun)) = replica.read.take() else { return };
    replica.elector.observe(record.clone(), begun);
    let action = replica.elector.decide(begun);
    // A write is given up when its answer would come too late to matter.
    if action == Action::Wait || version != server.version || now > begun + Duration::from_secs(4) {
        return;
    }
    server.renewals += 1;
    server.version += 1;
    server.record = Record {
        holder: format!("r{index}"),
        duration: LEASE,
        renewal: server.renewals.to_string(),
        transitions: record.transitions + i32::from(record.holder != format!("r{index}")),
    };
    if !is_answer_lost {
        replica.elector.wrote(server.record.clone(), begun);
    }
}

proptest! {
    #[test]
    fn there_are_never_two_leaders(steps in proptest::collection::vec(step(), 1..300)) {
        let mut server = Server::default();
        let mut replicas: Vec<Replica> = (0..3).map(replica).collect();
        let mut now = Instant::now();
        for step in steps {
            match step {
                Step::Read(index) => replicas[index].read = Some((server.record.clone(), server.version, now)),
                Step::Write { replica, is_answer_lost } => take(&mut server, &mut replicas[replica], replica, now, is_answer_lost),
                Step::Pass(millis) => now += Duration::from_millis(millis),
                Step::Restart(index) => replicas[index] = replica(index),
            }
            let leaders = replicas.iter().filter(|replica| replica.elector.leads(now).now()).count();
            prop_assert!(leaders <= 1, "{leaders} leaders");
        }
        // Left alone, somebody leads.
        for _ in 0..20 {
            now += RETRY;
            for (index, replica) in replicas.iter_mut().enumerate() {
                replica.read = Some((server.record.clone(), server.version, now));
                take(&mut server, replica, index, now, false);
            }
        }
        prop_assert_eq!(replicas.iter().filter(|replica| replica.elector.leads(now).now()).count(), 1);
    }
}

#[test]
fn a_lease_given_back_is_taken_at_once() {
    let now = Instant::now();
    let mut elector = Elector::new("b".into());
    let held = Record { holder: "a".into(), duration: LEASE, renewal: "1".into(), transitions: 1 };
    elector.observe(held, now);
    assert_eq!(elector.decide(now + Duration::from_secs(1)), Action::Wait);
    assert!(elector.follows(now));
    assert!(
        !elector.follows(now + SILENT),
        "nobody is there, and who serves need not wait for the Lease to end"
    );
    assert_eq!(elector.decide(now + SILENT), Action::Wait, "who writes has to");
    elector.observe(Record { duration: Duration::from_secs(1), ..Record::default() }, now);
    assert_eq!(elector.decide(now), Action::Take);
    assert!(!elector.follows(now));
}

#[test]
fn only_the_first_that_ever_held_the_lease_is_first_and_not_again_after_a_pause() {
    let start = Instant::now();
    let held = |renewal: &str| Record {
        holder: "a".into(),
        duration: LEASE,
        renewal: renewal.into(),
        transitions: 1,
    };
    let mut first = Elector::new("a".into());
    first.observe(Record::default(), start);
    first.wrote(held("1"), start);
    assert_eq!(first.leads(start), Leads::First);
    first.wrote(held("2"), start + RETRY);
    assert_eq!(first.leads(start + RETRY), Leads::First, "renewed");
    let late = start + RETRY + DEADLINE;
    assert_eq!(first.leads(late), Leads::No);
    first.wrote(held("3"), late);
    assert_eq!(first.leads(late), Leads::Next, "it led before");

    let mut second = Elector::new("b".into());
    // What a holder leaves that hands over.
    second.observe(Record { holder: String::new(), ..held("4") }, late);
    second.wrote(Record { holder: "b".into(), ..held("5") }, late);
    assert_eq!(second.leads(late), Leads::Next);
}
