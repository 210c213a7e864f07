//! `/dev/sev-guest` (Linux `Documentation/virt/coco/sev-guest`, `include/uapi/linux/sev-guest.h`), for kernels before configfs-tsm: one
//! call of the device with the bytes to sign, the answer in memory.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use super::{Device, DeviceError, Evidence, checked};

/// `_IOWR('S', 0x0, struct snp_guest_request_ioctl)`.
const GET_REPORT: libc::c_ulong = 0xc020_5300;
/// `_IOWR('S', 0x2, struct snp_guest_request_ioctl)`.
const GET_EXT_REPORT: libc::c_ulong = 0xc020_5302;
/// What the driver takes at most for certificates: whole pages.
const CERTIFICATE_BYTES: usize = 0x4000;
/// Status 4, size of the report 4, reserved 24, then the report (AMD 56860, `MSG_REPORT_RSP`).
const BEFORE_REPORT: usize = 32;

/// `struct snp_report_req`.
#[repr(C)]
struct ReportRequest {
    user_data: [u8; 64],
    vmpl: u32,
    reserved: [u8; 28],
}

/// `struct snp_report_resp`.
#[repr(C)]
struct ReportResponse {
    data: [u8; 4000],
}

/// `struct snp_ext_report_req`.
#[repr(C)]
struct ExtendedRequest {
    data: ReportRequest,
    certs_address: u64,
    certs_len: u32,
}

/// `struct snp_guest_request_ioctl`.
#[repr(C)]
struct GuestRequest {
    msg_version: u8,
    req_data: u64,
    resp_data: u64,
    exitinfo2: u64,
}

/// The device's file.
#[derive(Debug)]
pub struct SevGuest {
    path: PathBuf,
}

impl SevGuest {
    /// The device at `path`.
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn call(
        &self,
        device: &fs::File,
        call: libc::c_ulong,
        request: u64,
        response: &mut ReportResponse,
    ) -> Result<(), DeviceError> {
        let mut ask = GuestRequest {
            msg_version: 1,
            req_data: request,
            resp_data: std::ptr::from_mut(response).expose_provenance() as u64,
            exitinfo2: 0,
        };
        #[expect(
            unsafe_code,
            reason = "a device is called by its number and an address; both structures outlive the call"
        )]
        // SAFETY: the descriptor is open, the number is the driver's own, and `ask` is laid out as the driver's header has it;
        // the addresses in it are those of structures of ours that are as long as the driver takes them to be.
        let done = unsafe { libc::ioctl(device.as_raw_fd(), call, std::ptr::from_mut(&mut ask)) };
        if done == 0 && ask.exitinfo2 == 0 {
            return Ok(());
        }
        let source = io::Error::last_os_error();
        if ask.exitinfo2 != 0 {
            return Err(DeviceError::Firmware { device: self.name(), status: ask.exitinfo2 });
        }
        Err(DeviceError::System { device: self.name(), what: "asking for a report", source })
    }
}

impl Device for SevGuest {
    fn report(&self, report_data: &[u8; 64]) -> Result<Evidence, DeviceError> {
        let device =
            fs::OpenOptions::new().read(true).write(true).open(&self.path).map_err(|source| {
                DeviceError::System { device: self.name(), what: "opening it", source }
            })?;
        let request = || ReportRequest { user_data: *report_data, vmpl: 0, reserved: [0; 28] };
        let mut response = Box::new(ReportResponse { data: [0; 4000] });
        let mut table = vec![0_u8; CERTIFICATE_BYTES];
        let extended = ExtendedRequest {
            data: request(),
            certs_address: table.as_mut_ptr().expose_provenance() as u64,
            certs_len: u32::try_from(CERTIFICATE_BYTES).unwrap_or(u32::MAX),
        };
        let address = std::ptr::from_ref(&extended).expose_provenance() as u64;
        let certificates = match self.call(&device, GET_EXT_REPORT, address, &mut response) {
            Ok(()) => table,
            // A host may have none to give, or more than fit: the report itself is asked for alone.
            Err(DeviceError::Firmware { .. }) => {
                let alone = request();
                let address = std::ptr::from_ref(&alone).expose_provenance() as u64;
                self.call(&device, GET_REPORT, address, &mut response)?;
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let word = |at: usize| {
            u32::from_le_bytes([
                response.data[at],
                response.data[at + 1],
                response.data[at + 2],
                response.data[at + 3],
            ])
        };
        if word(0) != 0 {
            return Err(DeviceError::Firmware { device: self.name(), status: word(0).into() });
        }
        if usize::try_from(word(4)).ok() != Some(attest::REPORT_BYTES) {
            return Err(DeviceError::Report { device: self.name() });
        }
        let report = response.data[BEFORE_REPORT..BEFORE_REPORT + attest::REPORT_BYTES].to_vec();
        checked(self, Evidence { report, certificates }, report_data)
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}
