//! What accounts may do beyond owning what is their own.

/// A role, or several: a set of bits.
///
/// ```
/// use postern::Role;
/// let env = postern::Env { roles: Role::AUDITOR.0, ..Default::default() };
/// assert!(env.has_role(Role::AUDITOR) && !env.has_role(Role::OWNER));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role(pub u64);

impl Role {
    /// Its key votes.
    pub const VALIDATOR: Role = Role(1);
    /// Grants roles, binds domains, issues tokens.
    pub const OPERATOR: Role = Role(1 << 1);
    /// Serves devices.
    pub const GATEWAY: Role = Role(1 << 2);
    /// Uploads code and deploys contracts.
    pub const DEVELOPER: Role = Role(1 << 3);
    /// Enrols devices.
    pub const OWNER: Role = Role(1 << 4);
    /// Vouches for serials and firmware.
    pub const MANUFACTURER: Role = Role(1 << 5);
    /// Police, certifiers: theft and recall.
    pub const AUTHORITY: Role = Role(1 << 6);
    /// Reads what others may not.
    pub const AUDITOR: Role = Role(1 << 7);
    /// Asks about subjects other than itself.
    pub const ENFORCEMENT_POINT: Role = Role(1 << 8);
    /// Issues credits of a data market.
    pub const CREDIT_ISSUER: Role = Role(1 << 9);
}
