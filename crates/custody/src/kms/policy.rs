//! The least that a hub's identity must be granted, to paste: nothing that manages a key, and nothing of other keys.

use api::{KeyPolicyForm, OrganizationId};
use serde_json::json;
use thiserror::Error;

/// Why there is no policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoPolicy {
    /// A text could not stand in a policy.
    #[error("`{0}` is no name of a key or of an identity")]
    NoName(String),
    /// The key is in no vault of Azure's.
    #[error("`{0}` is no key of a vault: write https://VAULT.vault.azure.net/keys/NAME")]
    NoVault(String),
}

/// Text that goes into a policy: nothing that would end a string of it.
fn plain(text: &str) -> Result<&str, NoPolicy> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:/+=,@*".contains(c);
    if !text.is_empty() && text.chars().all(fits) {
        return Ok(text);
    }
    Err(NoPolicy::NoName(text.to_owned()))
}

/// The policy that grants `principal` (an ARN of AWS, or the object id of an application in Azure) what wrapping with `key` needs.
///
/// # Errors
/// The key or who is granted is no name, or no key of the service that the form is for.
pub fn print(
    organization: OrganizationId,
    form: KeyPolicyForm,
    key: &str,
    principal: &str,
) -> Result<String, NoPolicy> {
    let (key, principal) = (plain(key)?, plain(principal)?);
    let aws = || {
        let context = json!({ "kms:EncryptionContext:chorion:org": organization.to_string() });
        json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "ChorionWrapsAndUnwraps", "Effect": "Allow",
                    "Principal": { "AWS": principal },
                    "Action": ["kms:Encrypt", "kms:Decrypt"],
                    "Resource": key,
                    "Condition": { "StringEquals": context },
                },
                {
                    "Sid": "ChorionSeesItsState", "Effect": "Allow",
                    "Principal": { "AWS": principal },
                    "Action": ["kms:DescribeKey"],
                    "Resource": key,
                },
                {
                    "Sid": "ChorionKeepsSalts", "Effect": "Allow",
                    "Principal": { "AWS": principal },
                    "Action": [
                        "secretsmanager:CreateSecret", "secretsmanager:GetSecretValue",
                        "secretsmanager:DeleteSecret",
                    ],
                    "Resource": format!("arn:aws:secretsmanager:*:*:secret:chorion/{organization}-*"),
                },
            ],
        })
    };
    let vault = || {
        let named = key.split_once("/keys/");
        let (vault, name) = named.ok_or_else(|| NoPolicy::NoVault(key.to_owned()))?;
        let vault = vault.trim_start_matches("https://").split('.').next().unwrap_or_default();
        let name = name.split('/').next().unwrap_or_default();
        Ok::<_, NoPolicy>((vault.to_owned(), name.to_owned()))
    };
    Ok(match form {
        KeyPolicyForm::AwsJson => format!("{:#}", aws()),
        KeyPolicyForm::AwsTerraform => format!(
            r#"data "aws_iam_policy_document" "chorion" {{
  statement {{
    sid       = "ChorionWrapsAndUnwraps"
    actions   = ["kms:Encrypt", "kms:Decrypt"]
    resources = ["{key}"]
    principals {{
      type        = "AWS"
      identifiers = ["{principal}"]
    }}
    condition {{
      test     = "StringEquals"
      variable = "kms:EncryptionContext:chorion:org"
      values   = ["{organization}"]
    }}
  }}
  statement {{
    sid       = "ChorionSeesItsState"
    actions   = ["kms:DescribeKey"]
    resources = ["{key}"]
    principals {{
      type        = "AWS"
      identifiers = ["{principal}"]
    }}
  }}
  statement {{
    sid       = "ChorionKeepsSalts"
    actions   = ["secretsmanager:CreateSecret", "secretsmanager:GetSecretValue", "secretsmanager:DeleteSecret"]
    resources = ["arn:aws:secretsmanager:*:*:secret:chorion/{organization}-*"]
    principals {{
      type        = "AWS"
      identifiers = ["{principal}"]
    }}
  }}
}}"#
        ),
        KeyPolicyForm::AzCli => {
            let (vault, name) = vault()?;
            format!(
                "VAULT=$(az keyvault show --name {vault} --query id --output tsv)\n\
                 az role assignment create --assignee {principal} --scope \"$VAULT/keys/{name}\" \\\n  \
                 --role 'Key Vault Crypto Service Encryption User'\n\
                 # salts of searchable fields, in the same vault:\n\
                 az role assignment create --assignee {principal} --scope \"$VAULT\" --role 'Key Vault Secrets Officer'\n\
                 # a key that is deleted by mistake must be recoverable:\n\
                 az keyvault update --name {vault} --enable-purge-protection true"
            )
        }
        KeyPolicyForm::AzureTerraform => {
            let (vault, name) = vault()?;
            format!(
                r#"data "azurerm_key_vault" "chorion" {{
  name                = "{vault}"
  resource_group_name = var.resource_group_name
}}

# wrapKey, unwrapKey and get on this one key
resource "azurerm_role_assignment" "chorion_key" {{
  scope                = "${{data.azurerm_key_vault.chorion.id}}/keys/{name}"
  role_definition_name = "Key Vault Crypto Service Encryption User"
  principal_id         = "{principal}"
}}

# salts of searchable fields
resource "azurerm_role_assignment" "chorion_salts" {{
  scope                = data.azurerm_key_vault.chorion.id
  role_definition_name = "Key Vault Secrets Officer"
  principal_id         = "{principal}"
}}"#
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_grants_wrapping_for_this_organization_and_no_managing() {
        let id = OrganizationId::generate();
        let arn = "arn:aws:kms:eu-central-1:111122223333:key/1234";
        let who = "arn:aws:iam::444455556666:role/hub";
        let text = print(id, KeyPolicyForm::AwsJson, arn, who).unwrap();
        let policy: serde_json::Value = serde_json::from_str(&text).unwrap();
        let condition = &policy["Statement"][0]["Condition"]["StringEquals"];
        assert_eq!(condition["kms:EncryptionContext:chorion:org"], id.to_string());
        let vault = "https://clinic.vault.azure.net/keys/customer/1";
        for (form, key) in [
            (KeyPolicyForm::AwsJson, arn),
            (KeyPolicyForm::AwsTerraform, arn),
            (KeyPolicyForm::AzCli, vault),
            (KeyPolicyForm::AzureTerraform, vault),
        ] {
            let text = print(id, form, key, who).unwrap();
            for more in
                ["kms:*", "ScheduleKeyDeletion", "PutKeyPolicy", "CreateGrant", "Administrator"]
            {
                assert!(!text.contains(more), "{form:?} grants {more}");
            }
            assert!(text.contains(who) && text.contains(if key == arn { arn } else { "clinic" }));
        }
        assert!(print(id, KeyPolicyForm::AzCli, arn, who).is_err());
        assert!(print(id, KeyPolicyForm::AzCli, vault, "x; rm -rf /").is_err());
    }
}
