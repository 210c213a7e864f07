//! Files that open in the browser: who gets a page, a key and sealed bytes; and, in real Chromium (`testing/browser/open.mjs`), that what
//! arrives is what was sealed, and that reads are drawn.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::{Dataset, DatasetId, DatasetKind, ErrorCode, Release, SealedObject, SignedStatement};
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use data_encoding::BASE64;
use dataset::{OpenDataset, PACK_BYTES, Packer};
use proof::Manifest;
use seal::recipient::RecipientSecret;
use serde_json::{Value, json};

use super::chromium::{packages, root, run};
use super::material::{Content, close, make, put_all, sent};
use super::owners::Owned;
use super::pages::{PASSWORD, TestBrowser};
use super::website::{Front, with_password};
use crate::testing::{Answer, Person, TestHub};

const READS: &[u8] = b"reads, not looked at by any hub";

/// A folder as `web/build.sh` makes it, with scripts that do nothing.
fn built() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut list = String::new();
    for name in ["worker.js", "download-0123456789abcdef.js", "view-0123456789abcdef.js"] {
        for end in ["", ".br", ".gz"] {
            std::fs::write(folder.path().join(format!("{name}{end}")), name).unwrap();
        }
        list.push_str(&format!("{}  {name}\n", proof::sha256(name.as_bytes())));
    }
    std::fs::write(folder.path().join("hashes.txt"), list).unwrap();
    folder
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn policy(answer: &Answer) -> &str {
    answer.headers["content-security-policy"].to_str().unwrap()
}

/// Asks for the key as a worker does.
async fn release(
    browser: &mut TestBrowser<'_>,
    id: DatasetId,
    token: &str,
    secret: &RecipientSecret,
) -> Answer {
    let recipient = BASE64.encode(&secret.public().to_bytes());
    let form = [("form_token", token), ("recipient", &recipient), ("purpose", "view")];
    let form = serde_urlencoded::to_string(form).unwrap();
    browser.send("POST", &format!("/open/{id}/release"), Some(&form)).await
}

#[tokio::test]
async fn a_worker_gets_what_the_command_line_gets_and_the_log_says_so() {
    let pages = built();
    let hub = TestHub::with_pages(pages.path()).await;
    let ada = hub.operator().await;
    let project = hub.project(&ada, "panel").await;
    let files: [(&str, &[u8]); 3] =
        [("a b.bam", READS), ("a b.bam.bai", b"index"), ("notes.txt", b"n")];
    let sample = sent(&hub, &ada.key, project, DatasetKind::Sample, &files).await;
    let id = sample.dataset();
    with_password(&hub, &ada, "ada").await;
    let mut browser = TestBrowser::new(&hub);
    browser.sign_in("ada", PASSWORD).await;

    let page = text(&browser.get(&format!("/datasets/{id}")).await);
    let (download, view) =
        (format!("/open/{id}?file=a%20b.bam"), format!("/open/{id}/view?file=a%20b.bam"));
    assert!(page.contains(&format!("href=\"{download}\"")), "{page}");
    assert_eq!(page.matches("/view?file=").count(), 1, "one file has an index");
    let page = browser.get(&download).await;
    assert!(policy(&page).contains("trusted-types chorion-worker"), "{}", policy(&page));
    let said = text(&page);
    assert!(said.contains(&format!("chorion sample download {id} --only &#39;a b.bam&#39;")));
    assert!(said.contains(&format!("/open/{id}/files/a%20b.bam")), "{said}");
    let page = browser.get(&view).await;
    let said = text(&page);
    assert!(policy(&page).contains("sandbox allow-scripts allow-same-origin"));
    assert!(said.contains("data-view=") && !said.contains("form_token"), "{said}");
    let worker = browser.get("/open/worker.js").await;
    assert!(policy(&worker).contains("'wasm-unsafe-eval'"));
    // Where no worker answers, and where there is nothing to view.
    for (path, to) in [
        (format!("/open/{id}/files/a%20b.bam"), &download),
        (format!("/open/{id}/view?file=notes.txt"), &format!("/open/{id}?file=notes.txt")),
    ] {
        let answer = browser.get(&path).await;
        assert_eq!(answer.headers["location"].to_str().unwrap(), to);
    }

    let begun: Value = browser.get(&format!("/open/{id}/begin")).await.ok();
    let token = begun["form_token"].as_str().unwrap().to_owned();
    let secret = RecipientSecret::generate().unwrap();
    let released: Release = release(&mut browser, id, &token, &secret).await.ok();
    let open = OpenDataset::from_release(&released, &secret).unwrap();
    let signed: SignedStatement = serde_json::from_value(begun["manifest"].clone()).unwrap();
    let (manifest, _) = proof::open_statement::<Manifest>(&signed).unwrap();
    let extent = &manifest.index[0];
    let answer = browser.get(&format!("/open/{id}/objects/{}", extent.object)).await;
    let header = |name: &str| answer.headers[name].to_str().unwrap();
    let object = SealedObject {
        object: extent.object,
        hash: header("etag").trim_matches('"').parse().unwrap(),
        sealed_bytes: answer.body.len() as u64,
        epoch: header("chorion-epoch").parse().unwrap(),
        wrapped_key: api::Bytes(BASE64.decode(header("chorion-wrapped-key").as_bytes()).unwrap()),
    };
    assert!(open.open_object(&object, &answer.body, Some(extent.commitment)).is_ok());
    let events: api::Page<api::Event> =
        hub.get(&ada.key, "/api/v1/audit/events?limit=1000").await.ok();
    let of = |event: &&api::Event| event.purpose.as_deref() == Some("view");
    let event = events.items.iter().find(of).unwrap();
    assert_eq!(event.act, "key.release");

    // A form of somebody else's page, and people who may not.
    assert_eq!(release(&mut browser, id, "x", &secret).await.status, StatusCode::FORBIDDEN);
    let paths = ["begin".to_owned(), format!("objects/{}", extent.object)];
    let bob = hub.person(&ada, "Bob").await;
    with_password(&hub, &bob, "bob").await;
    let mut browser = TestBrowser::new(&hub);
    let out = browser.get(&format!("/open/{id}/begin")).await;
    assert_eq!(out.status, StatusCode::SEE_OTHER, "nobody is signed in");
    browser.sign_in("bob", PASSWORD).await;
    let token = browser.form_token("/account").await;
    for path in &paths {
        let answer = browser.get(&format!("/open/{id}/{path}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(release(&mut browser, id, &token, &secret).await.status, StatusCode::NOT_FOUND);
    let member = format!("/api/v1/projects/{project}/members/{}", bob.account);
    hub.call(&ada.key, "PUT", &member, json!({"right": "browse"})).await.ok::<Value>();
    let page = text(&browser.get(&format!("/datasets/{id}")).await);
    assert!(!page.contains("/open/"), "who browses is offered nothing");
    assert!(text(&browser.get(&download).await).contains("not what is in it"));
    let answer = browser.get(&format!("/open/{id}/{}", paths[1])).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(release(&mut browser, id, &token, &secret).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_owners_files_open_on_no_page_of_the_hub_and_unbuilt_pages_name_the_command_line() {
    let owned = Owned::begin().await;
    let (hub, id) = (owned.hub(), owned.input.dataset());
    with_password(hub, &owned.story.ada, "ada").await;
    let sample =
        sent(hub, owned.ada(), owned.story.project, DatasetKind::Sample, &[("x.bam", READS)]).await;
    let mut browser = TestBrowser::new(hub);
    browser.sign_in("ada", PASSWORD).await;
    assert!(!text(&browser.get(&format!("/datasets/{id}")).await).contains("/open/"));
    let token = browser.form_token("/account").await;
    let secret = RecipientSecret::generate().unwrap();
    let refused = release(&mut browser, id, &token, &secret).await;
    assert!(refused.status.is_client_error(), "{}", refused.status);
    // This hub has no built pages.
    let page = text(&browser.get(&format!("/datasets/{}", sample.dataset())).await);
    assert!(!page.contains("/open/") && page.contains("chorion sample download"));
    let page = text(&browser.get(&format!("/open/{}?file=x.bam", sample.dataset())).await);
    assert!(page.contains("make authenticator") && page.contains("chorion sample download"));
    let worker = browser.get("/open/worker.js").await;
    assert_eq!(worker.status, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn what_a_worker_is_refused_is_a_problem_document() {
    let hub = TestHub::start().await;
    let ada = hub.operator().await;
    with_password(&hub, &ada, "ada").await;
    let mut browser = TestBrowser::new(&hub);
    browser.sign_in("ada", PASSWORD).await;
    let cookies: Vec<String> = browser.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let request = Request::get(format!("/open/{}/begin", DatasetId::generate()))
        .header("host", crate::testing::AUTHORITY)
        .header("cookie", cookies.join("; "))
        .header("accept", "application/problem+json");
    let answer = hub.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.code(), ErrorCode::NotFound);
}

/// Bytes that repeat nowhere near.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut all = Vec::with_capacity(bytes + 8);
    while all.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend_from_slice(&state.to_le_bytes());
    }
    all.truncate(bytes);
    all
}

/// A sample with packs as brokers make them; `lie` names a file whose SHA-256 its writer signs wrong.
async fn sample(
    hub: &TestHub,
    person: &Person,
    project: api::ProjectId,
    files: &[(String, Vec<u8>)],
    lie: &str,
) -> (DatasetId, Vec<api::ObjectRef>) {
    let open = make(hub, &person.key, project, DatasetKind::Sample, "NA12878").await;
    let mut packer = Packer::new(PACK_BYTES);
    let mut packs = Vec::new();
    for (path, bytes) in files {
        let file = packer.begin(path);
        packs.extend(packer.write(file, bytes).unwrap());
        packer.end(file);
    }
    packs.extend(packer.flush());
    let mut parts = Vec::new();
    for pack in packs {
        let part = pack.seal(&open).unwrap();
        packer.sealed(&part);
        parts.push(part);
    }
    let (mut files, objects) = packer.finish().unwrap();
    for file in files.iter_mut().filter(|file| file.path == lie) {
        file.sha256.0[0] ^= 1;
    }
    let held = parts.iter().map(|part| part.object).collect();
    let content = Content { files, objects, parts };
    let manifest = put_all(hub, &person.key, &open, content, 1, None).await;
    close(hub, &person.key, &person.key, &manifest, "").await.ok::<Dataset>();
    (open.dataset(), held)
}

/// Real reads and variants, where they are at hand: a file and its index each.
fn genomes() -> Vec<(String, Vec<u8>)> {
    let Some(data) = std::env::var_os("CHORION_TEST_DATA") else { return Vec::new() };
    let pairs = [
        ("bam/htsnexus_test_NA12878.bam", ".bai"),
        ("cram/htsnexus_test_NA12878.cram", ".crai"),
        ("vcf/sample1-bcbio-cancer.vcf.gz", ".tbi"),
    ];
    let read = |path: String| {
        let bytes = std::fs::read(Path::new(&data).join("htsget").join(&path)).unwrap();
        (path, bytes)
    };
    pairs
        .iter()
        .flat_map(|(path, end)| [(*path).to_owned(), format!("{path}{end}")])
        .map(read)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_chromium_what_is_downloaded_is_what_was_sealed_and_reads_are_drawn() {
    let pages = root().join("target/web/site");
    let Some(packages) = packages().filter(|_| pages.join("hashes.txt").exists()) else {
        println!("skipped: not here: Chromium and its packages, or the pages (make authenticator)");
        return;
    };
    let hub = TestHub::with_pages(&pages).await;
    let ada = hub.operator().await;
    with_password(&hub, &ada, "ada").await;
    let project = hub.project(&ada, "panel").await;
    let whole = vec![
        ("big.bin".to_owned(), noise(40 << 20)),
        ("empty.txt".to_owned(), Vec::new()),
        ("lying.bin".to_owned(), noise(200_000)),
        ("odd ä #1.txt".to_owned(), noise(70_000)),
    ];
    let (files, _) = sample(&hub, &ada, project, &whole, "lying.bin").await;
    let (changed, objects) =
        sample(&hub, &ada, project, &[("flipped.bin".to_owned(), noise(20 << 20))], "").await;
    let reads = genomes();
    let (genome, _) = sample(&hub, &ada, project, &reads, "").await;

    // On their way to the browser one bit of one object is flipped, and what is fetched for the viewer is counted.
    let (flipped, fetched) = (objects[1].to_string(), Arc::new(AtomicU64::new(0)));
    let (counted, of_genome) = (Arc::clone(&fetched), format!("/open/{genome}/objects/"));
    let between = from_fn(move |request: Request, next: Next| {
        let (flipped, of_genome) = (flipped.clone(), of_genome.clone());
        let counted = Arc::clone(&counted);
        async move {
            let path = request.uri().path().to_owned();
            let (parts, body) = next.run(request).await.into_parts();
            if !path.contains("/objects/") {
                return axum::response::Response::from_parts(parts, body);
            }
            let mut bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
            if path.starts_with(&of_genome) {
                counted.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            }
            if path.ends_with(&flipped) && bytes.len() > 1_000_000 {
                bytes[1_000_000] ^= 1;
            }
            axum::response::Response::from_parts(parts, Body::from(bytes))
        }
    });
    let front = Front::over(hub.router().layer(between)).await;
    let saved = |(path, bytes): &(String, Vec<u8>)| json!({"path": path, "bytes": bytes.len(), "sha256": proof::sha256(bytes)});
    let good = whole.iter().filter(|(path, _)| path != "lying.bin").map(saved).collect::<Vec<_>>();
    let shown: Vec<_> = reads.iter().step_by(2).map(|(path, _)| path).collect();
    let plan = json!({
        "port": front.port, "sign_in_name": "ada", "password": PASSWORD, "dataset": files, "good": good,
        "bad": [
            {"dataset": files, "path": "lying.bin", "says": "is not the one that its writer signed"},
            {"dataset": changed, "path": "flipped.bin", "says": "does not open: it was changed"},
        ],
        "genome": genome, "views": shown, "web": root().join("target/web"), "source": root().join("web"),
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), plan.to_string()).unwrap();
    let screenshots = root().join("target/screenshots/open");
    let arguments = [file.path().to_str().unwrap(), screenshots.to_str().unwrap()];
    let said = run("open.mjs", &packages, &arguments).await;
    let said: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    println!("open: {said}, {} bytes fetched for the viewer", fetched.load(Ordering::SeqCst));
    assert_eq!(said["violations"], 0);
    assert_eq!(said["downloaded"], 3);
    assert_eq!(said["broken"], 2);
    assert_eq!(said["drawn"].as_u64().unwrap(), 2 * shown.len() as u64);
}
