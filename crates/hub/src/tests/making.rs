//! What people make by forms: projects, cases, links of cases, blocks; and what a page shows of a key's policy, by a call.

use api::{ErrorCode, KeyPolicy, KeyPolicyForm};

use super::forms::signed_in;
use super::pages::Page as _;

#[tokio::test]
async fn a_keys_policy_is_given_by_a_call_as_the_page_shows_it() {
    let clinic = super::organization_keys::Clinic::new().await;
    let hub = &clinic.hub;
    let vault = "https%3A%2F%2Fclinic.vault.azure.net%2Fkeys%2Fcustomer";
    let asked = format!("policy?form=az-cli&key={vault}&principal=4711");
    let path = clinic.path(&format!("/{asked}"));
    let given: KeyPolicy = hub.get(&clinic.lab.key, &path).await.ok();
    assert_eq!(given.form, KeyPolicyForm::AzCli);
    assert!(given.policy.contains("Key Vault Crypto Service Encryption User"));
    let mut browser = signed_in(hub, &clinic.lab, "lab").await;
    let page = browser.get(&format!("/organizations/{}/key/{asked}", clinic.id)).await.text();
    let shown = page.split("<pre>").nth(1).unwrap().split("</pre>").next().unwrap();
    let plain = shown.replace("&#39;", "'").replace("&#34;", "\"").replace("&#38;", "&");
    assert_eq!(plain, given.policy);
    for wrong in ["", "?form=az-cli&key=x&principal=y", "?form=none&key=x&principal=y", "?key=x"] {
        let refused = hub.get(&clinic.lab.key, &clinic.path(&format!("/policy{wrong}"))).await;
        assert_eq!(refused.code(), ErrorCode::BadRequest, "{wrong}");
    }
    let words: Vec<String> = KeyPolicyForm::ALL
        .iter()
        .map(|form| serde_json::to_value(form).unwrap().as_str().unwrap().to_owned())
        .collect();
    assert_eq!(words, KeyPolicyForm::ALL.map(KeyPolicyForm::as_str));
}
