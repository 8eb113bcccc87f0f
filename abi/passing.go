package abi

// Passing says whether what a code refuses may be taken later just as it is: the
// node or the network was not able, or a change on the ledger may admit it. Who
// keeps transactions for later, a device or a gateway, tries again after such a
// code and gives up after any other.
func (c Code) Passing() bool {
	switch c {
	case CodeBusy, CodeRateLimited, CodeInternal, CodeNotReady, CodeShuttingDown, CodeTimeout, CodeUnavailable,
		CodeTooStale, CodeClockUntrusted, CodeLogUnavailable,
		CodeGasQuota, CodeStorageQuota, CodeUnknownAccount, CodeUnknownKey, CodeDeviceInactive:
		return true
	}
	return false
}
