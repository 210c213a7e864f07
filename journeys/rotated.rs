//! Words are changed while every call is cut once: the hub did what it was asked, and the device was killed before it heard so. The same
//! command goes on each time, and never is there a moment at which neither the old words nor the new ones hold everything.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::handed_over::opens;
use super::owner::{WORDS, own_project, restore, sample};
use super::stage::{Stage, until};

/// What is between a device and its hub: it passes bytes on, and at a given question keeps the answer.
struct Line {
    /// Questions until the answer is kept.
    left: AtomicUsize,
    is_cut: AtomicBool,
}

impl Line {
    fn new(listener: TcpListener, hub: String) -> Arc<Self> {
        let line = Arc::new(Self { left: usize::MAX.into(), is_cut: false.into() });
        let of_threads = Arc::clone(&line);
        std::thread::spawn(move || {
            for device in listener.incoming().flatten() {
                let (line, hub) = (Arc::clone(&of_threads), TcpStream::connect(&hub).unwrap());
                std::thread::spawn(move || line.pass(device, hub));
            }
        });
        line
    }

    /// Passes on what one connection says. A question is what the device says after the hub has spoken.
    fn pass(self: Arc<Self>, mut device: TcpStream, mut hub: TcpStream) {
        let has_answered = Arc::new(AtomicBool::new(true));
        let (line, heard) = (Arc::clone(&self), Arc::clone(&has_answered));
        let (mut from, mut to) = (hub.try_clone().unwrap(), device.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut bytes = [0; 1 << 16];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                heard.store(true, Ordering::SeqCst);
                if line.left.load(Ordering::SeqCst) == 0 {
                    // The hub has done it, and the device never hears.
                    line.is_cut.store(true, Ordering::SeqCst);
                    break;
                }
                if to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            to.shutdown(Shutdown::Both).ok();
        });
        let mut bytes = [0; 1 << 16];
        while let Ok(count @ 1..) = device.read(&mut bytes) {
            if has_answered.swap(false, Ordering::SeqCst) {
                let less = |left: usize| left.checked_sub(1);
                self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).ok();
            }
            if hub.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        hub.shutdown(Shutdown::Both).ok();
    }

    /// From here on the answer to the question of that number is kept.
    fn cut_at(&self, question: usize) {
        self.is_cut.store(false, Ordering::SeqCst);
        self.left.store(question, Ordering::SeqCst);
    }
}

#[test]
fn words_are_changed_whichever_call_is_cut() {
    let stage = Stage::new();
    // The hub answers at an address of its own, and to the name of the line before it.
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("localhost:{}", listener.local_addr().unwrap().port());
    let url = format!("https://{name}");
    let hub = stage.hub_in("hub", &listen, &["--vaults", "0", "--name", &name]);
    let line = Line::new(listener, listen);
    let login = ["login", "--hub", &url, "--ca", &hub.ca_file, "--code", &hub.one_time_code];
    stage.call("ada", &login);
    restore(&stage, "ada", WORDS);
    let project = own_project(&stage, "ada");
    let id = sample(&stage, "ada", &project);
    own_project(&stage, "ada");

    let next = stage.path("ada").join("identity.next");
    let rotate = ["words", "rotate", "--print-words"];
    let (mut cuts, mut changes) = (0, 0);
    for question in 1.. {
        let is_fresh = !next.exists();
        line.cut_at(question);
        let mut child = match is_fresh {
            true => stage.start_and_type_back("ada", &rotate),
            false => stage.start("ada", &rotate),
        };
        until("a cut or the end", || line.is_cut.load(Ordering::SeqCst) || child.has_ended());
        let is_cut = line.is_cut.load(Ordering::SeqCst);
        child.kill();
        line.cut_at(usize::MAX);
        if is_cut {
            cuts += 1;
            continue;
        }
        assert!(!next.exists(), "it ended by itself, and not with the new words");
        changes += 1;
        if is_fresh {
            break;
        }
    }
    assert!(cuts >= 8, "{cuts} calls were cut");
    assert!(opens(&stage, "ada", &id, "after"));
    let card = stage.call("ada", &["project", "card", &project]);
    assert_eq!(
        card["card"]["number"],
        1 + changes,
        "one card for each change, however often it was cut"
    );
    drop(hub);
}
