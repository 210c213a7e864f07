//! What a hub may leave out, bring back or mix, and which alarm names it.

use api::{
    AccountId, Bytes, DeliveryState, EventId, EventLeaf, Outcome, QualityState, TaskId, Time,
};
use proof::{SigningKey, sign_statement};

use super::*;

const YOU: Digest = Digest([7; 32]);

fn manifest(dataset: &Dataset, number: u32) -> SignedStatement {
    let zero = Digest([0; 32]);
    let facts = Manifest {
        hub: "h".into(),
        dataset: dataset.id,
        project: dataset.project,
        card: zero,
        epoch: 0,
        number,
        previous: (number > 1).then_some(zero),
        files: 1,
        index_digest: zero,
        index: vec![],
        objects: 1,
        sealed_bytes: 1,
        objects_digest: zero,
        at: Time::UNIX_EPOCH,
    };
    sign_statement(&facts, &SigningKey::from_seed(&[1; 32]))
}

/// A hub with what it lists, what its log tells, and what it shows as content.
#[derive(Clone)]
struct World {
    projects: BTreeSet<ProjectId>,
    listed: Vec<Dataset>,
    events: Vec<Event>,
    shown: BTreeMap<DatasetId, SignedStatement>,
}

impl World {
    /// A project of the owner's with so many samples.
    fn new(samples: usize) -> Self {
        let project = ProjectId::generate();
        let mut world = Self {
            projects: BTreeSet::from([project]),
            listed: vec![],
            events: vec![],
            shown: BTreeMap::new(),
        };
        for _ in 0..samples {
            world.add(project);
        }
        world
    }

    fn project(&self) -> ProjectId {
        *self.projects.first().unwrap()
    }

    fn add(&mut self, project: ProjectId) -> DatasetId {
        let dataset = Dataset {
            id: DatasetId::generate(),
            kind: DatasetKind::Sample,
            project,
            custodian: Custodian::Owner,
            owner: AccountId::from_bytes([1; 16]),
            label: Bytes(vec![]),
            name: None,
            execution: ExecutionState::Complete,
            reason: None,
            quality: QualityState::Unknown,
            delivery: DeliveryState::Pending,
            parent: None,
            session: None,
            task: None,
            reads: None,
            epoch: 0,
            card_digest: Digest([0; 32]),
            objects: 1,
            sealed_bytes: 1,
            manifest_number: 0,
            created: Time::UNIX_EPOCH,
            changed: Time::UNIX_EPOCH,
        };
        let id = dataset.id;
        self.listed.push(dataset);
        self.put(id);
        id
    }

    fn dataset(&mut self, id: DatasetId) -> &mut Dataset {
        self.listed.iter_mut().find(|one| one.id == id).unwrap()
    }

    /// The next content of a dataset.
    fn put(&mut self, id: DatasetId) {
        let dataset = self.dataset(id);
        dataset.manifest_number += 1;
        let signed = manifest(dataset, dataset.manifest_number);
        let statement = Some(digest_of(&signed));
        self.shown.insert(id, signed);
        self.say("manifest.put", format!("dataset:{id}")).statement = statement;
    }

    /// Another leaf of the log.
    fn say(&mut self, act: &str, object: String) -> &mut EventLeaf {
        let index = self.events.len() as u64;
        self.events.push(Event {
            id: EventId::generate(),
            at: Time::UNIX_EPOCH,
            actor: "hub".into(),
            act: act.into(),
            object,
            purpose: None,
            outcome: Outcome::Done,
            reason: None,
            request_id: None,
            leaf: Some(EventLeaf {
                index,
                salt: Digest([0; 32]),
                owner: Some(YOU),
                purpose: None,
                purpose_salt: None,
                approval: None,
                evidence: None,
                statement: None,
            }),
        });
        self.events.last_mut().unwrap().leaf.as_mut().unwrap()
    }

    fn unlist(&mut self, id: DatasetId) {
        self.listed.retain(|one| one.id != id);
    }

    /// Compares, with what is asked for.
    fn compared(&self, before: &Holdings) -> Holds {
        let mut contents = BTreeMap::new();
        for _ in 0..2 {
            let look = Look {
                you: YOU,
                projects: &self.projects,
                listed: &self.listed,
                events: &self.events,
                contents: &contents,
            };
            match before.compare(&look) {
                Compared::Whole(holds) => return holds,
                Compared::Needs(ids) => {
                    contents =
                        ids.into_iter().map(|id| (id, self.shown.get(&id).cloned())).collect();
                }
            }
        }
        panic!("it asks for what it got")
    }

    fn remembered(&self) -> Holdings {
        let holds = self.compared(&Holdings::default());
        assert!(holds.alarms.is_empty(), "{:?}", holds.alarms);
        holds.now
    }

    /// The one alarm.
    fn alarm(&self, before: &Holdings) -> String {
        let alarms = self.compared(before).alarms;
        let [alarm] = &alarms[..] else { panic!("one alarm, not {alarms:?}") };
        alarm.to_string()
    }
}

#[test]
fn what_is_there_with_its_newest_content_is_remembered_and_looked_at_once() {
    let mut world = World::new(3);
    let before = world.remembered();
    assert_eq!(before.len(), 3);
    let look = |world: &World, contents: &BTreeMap<_, _>| {
        let (projects, listed, events) = (&world.projects, &world.listed, &world.events);
        match before.compare(&Look { you: YOU, projects, listed, events, contents }) {
            Compared::Needs(ids) => ids.len(),
            Compared::Whole(holds) => {
                assert!(holds.alarms.is_empty());
                0
            }
        }
    };
    assert_eq!(look(&world, &BTreeMap::new()), 0, "nothing is news");
    let id = world.listed[0].id;
    world.put(id);
    assert_eq!(look(&world, &BTreeMap::new()), 1, "new content is");
    assert_eq!(world.compared(&before).now.len(), 3);
    let unlisted = |kind, project| before.unlisted(kind, project, &BTreeSet::from([id])).len();
    assert_eq!(unlisted(None, None), 2);
    assert_eq!(unlisted(Some(DatasetKind::Sample), Some(world.project())), 2);
    assert_eq!(unlisted(Some(DatasetKind::Run), None), 0);
}

#[test]
fn a_dataset_that_is_dropped_is_named_to_who_saw_it_and_to_who_did_not() {
    let mut world = World::new(2);
    let before = world.remembered();
    let id = world.listed[0].id;
    world.unlist(id);
    let said = world.alarm(&before);
    assert!(said.contains(&id.to_string()) && said.contains("is missing"), "{said}");
    let said = world.alarm(&Holdings::default());
    assert!(said.contains(&id.to_string()) && said.contains("leaf 0"), "{said}");
    // What was somebody else's is no affair of this owner's.
    world.events[0].leaf.as_mut().unwrap().owner = Some(Digest([8; 32]));
    assert!(world.compared(&Holdings::default()).alarms.is_empty());
}

#[test]
fn what_was_destroyed_on_an_approval_is_forgotten_and_without_one_it_is_an_alarm() {
    let mut world = World::new(2);
    let before = world.remembered();
    let id = world.listed[0].id;
    world.unlist(id);
    world.say("dataset.delete", format!("dataset:{id}"));
    let said = world.alarm(&before);
    assert!(said.contains("by hub") && said.contains("no approval of yours"), "{said}");
    let leaf = world.events.last_mut().unwrap().leaf.as_mut().unwrap();
    leaf.approval = Some(Digest([9; 32]));
    let holds = world.compared(&before);
    assert!(holds.alarms.is_empty() && holds.now.len() == 1);
    // A deletion that was tried and refused explains nothing.
    world.events.last_mut().unwrap().outcome = Outcome::Refused;
    assert!(world.alarm(&before).contains("is missing"));
}

#[test]
fn what_a_vault_made_beside_a_run_may_be_taken_back_and_its_unfinished_work_too() {
    let mut world = World::new(1);
    let project = world.project();
    let (beside, unfinished) = (world.add(project), world.add(project));
    let task = Some(TaskId::generate());
    let one = world.dataset(beside);
    (one.kind, one.task) = (DatasetKind::Result, task);
    let one = world.dataset(unfinished);
    (one.task, one.execution) = (task, ExecutionState::Processing);
    let before = world.remembered();
    assert_eq!(before.len(), 2, "what is not whole is not remembered");
    // The vault was lost, and what it wrote begins anew.
    world.dataset(unfinished).manifest_number = 0;
    world.unlist(beside);
    world.say("dataset.delete", format!("dataset:{beside}"));
    assert!(world.compared(&before).alarms.is_empty());
}

#[test]
fn a_project_that_goes_has_a_leaf_that_says_why() {
    let mut world = World::new(2);
    let before = world.remembered();
    let project = world.project();
    let lost = World { projects: BTreeSet::new(), listed: vec![], ..world.clone() };
    let said: Vec<String> = lost.compared(&before).alarms.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].contains(&format!("project {project} is missing")), "{said:?}");

    // Given away: nobody but the owner offers it.
    let mut given = lost.clone();
    given.say("project.handover", format!("project:{project}"));
    given.events.last_mut().unwrap().purpose = Some("transfer".into());
    assert!(given.compared(&before).alarms.is_empty());
    // A device that never saw it can only say how many went.
    assert_eq!(given.compared(&Holdings::default()).unknown, 2);
    // Withdrawn, and gone all the same; or new words, which give nothing away.
    given.say("project.transfer.withdraw", format!("project:{project}"));
    assert_eq!(given.compared(&before).alarms.len(), 3);
    let mut other = lost.clone();
    other.say("project.handover", format!("project:{project}"));
    other.events.last_mut().unwrap().purpose = Some("key_change".into());
    assert_eq!(other.compared(&before).alarms.len(), 3);

    // Deleted: on an approval.
    let mut deleted = lost;
    deleted.say("project.delete", format!("project:{project}")).approval = Some(Digest([9; 32]));
    assert!(deleted.compared(&before).alarms.is_empty());
    deleted.events.last_mut().unwrap().leaf.as_mut().unwrap().approval = None;
    assert_eq!(deleted.compared(&before).alarms.len(), 2);
    // A project that is there explains nothing of what it held.
    world.say("project.handover", format!("project:{project}"));
    world.events.last_mut().unwrap().purpose = Some("transfer".into());
    let id = world.listed[0].id;
    world.unlist(id);
    assert!(world.alarm(&before).contains("is missing"));
}

#[test]
fn content_that_was_rolled_back_mixed_or_never_logged_is_named() {
    let mut world = World::new(2);
    let (one, other) = (world.listed[0].id, world.listed[1].id);
    world.put(one);
    let before = world.remembered();
    let show = |world: &World, number| {
        let mut world = world.clone();
        world.dataset(one).manifest_number = number;
        let signed = manifest(world.dataset(one), number);
        world.shown.insert(one, signed);
        world
    };
    let rolled_back = show(&world, 1);
    assert!(rolled_back.alarm(&before).contains("but showed content 2 before"));
    let said = rolled_back.alarm(&Holdings::default());
    assert!(said.contains("content 1") && said.contains("leaf 2"), "{said}");
    let invented = show(&world, 3).alarm(&before);
    assert!(invented.contains("no leaf of the log"), "{invented}");

    let mut mixed = world.clone();
    mixed.shown.insert(one, world.shown[&other].clone());
    assert!(mixed.alarm(&Holdings::default()).contains("is no content of it"));
    let mut withheld = world.clone();
    withheld.shown.remove(&one);
    assert!(withheld.alarm(&Holdings::default()).contains("does not show it"));
    let mut moved = world.clone();
    let second = ProjectId::generate();
    moved.projects.insert(second);
    moved.dataset(one).project = second;
    assert!(moved.alarm(&before).contains("and was in project"));
    let mut emptied = world;
    emptied.dataset(one).manifest_number = 0;
    assert!(emptied.alarm(&before).contains("without content"));
    assert!(emptied.alarm(&Holdings::default()).contains("without content"));
}
