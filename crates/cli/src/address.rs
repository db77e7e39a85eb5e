use secrecy::SecretString;

use crate::error::{Failure, Result};

/// Where a server is and as whom. It holds a password, so it is no setting: neither `config show` nor the process list has it.
pub(crate) struct Address {
    /// Of the server, for errors.
    pub(crate) server: &'static str,
    /// The environment variable that has it.
    pub(crate) variable: &'static str,
    /// The setting that names a file with it; the variable counts before it.
    pub(crate) setting: &'static str,
    /// What it may begin with.
    pub(crate) schemes: [&'static str; 2],
    pub(crate) hint: &'static str,
}

impl Address {
    /// `file` is the setting's value. What is wrong with an address is not shown, because it may be a password.
    pub(crate) fn read(&self, file: &str) -> Result<SecretString> {
        let Self { server, variable, setting, schemes, hint } = self;
        let given = match std::env::var(variable) {
            Ok(given) => given,
            Err(_) if file == "none" => return Err(Failure::misuse(anyhow::anyhow!("no {server} is named"), *hint)),
            Err(_) => std::fs::read_to_string(file).map_err(|error| {
                Failure::misuse(anyhow::Error::new(error).context(format!("read the file of {setting}, {file}")), *hint)
            })?,
        };
        let address = given.trim();
        if schemes.iter().any(|scheme| address.starts_with(scheme)) {
            return Ok(SecretString::from(address));
        }
        Err(Failure::misuse(anyhow::anyhow!("what is given as the address of {server} is none"), *hint))
    }
}
