"""ATT&CK techniques that our attack names use, with what each means; the catalogue itself is at attack.mitre.org."""

from __future__ import annotations

from dataclasses import dataclass

_KNOWN = {
    "T1014": ("Rootkit", "Hides programs, files and connections of an intruder from the system's own tools."),
    "T1018": ("Remote system discovery", "Finds out which other machines there are, to go on to them."),
    "T1021": (
        "Remote services",
        "Logs into services meant for remote use, such as SSH, SMB or RDP, with accounts it has.",
    ),
    "T1021.004": ("Remote services: SSH", "Logs into other machines over SSH with accounts or keys it has."),
    "T1030": ("Data transfer size limits", "Carries data out in small pieces, so that no transfer stands out."),
    "T1046": ("Network service discovery", "Asks hosts and ports which services run there, often before an attack."),
    "T1048": (
        "Exfiltration over alternative protocol",
        "Carries data out by another protocol than the one it is commanded by.",
    ),
    "T1048.002": (
        "Exfiltration over encrypted non-C2 protocol",
        "Carries data out encrypted, such as by HTTPS or SFTP.",
    ),
    "T1048.003": (
        "Exfiltration over unencrypted non-C2 protocol",
        "Carries data out in the clear, such as by FTP or DNS.",
    ),
    "T1056.001": ("Keylogging", "Records what is typed, to learn passwords."),
    "T1056.002": ("GUI input capture", "Shows a false dialog that asks for a password."),
    "T1059": ("Command and scripting interpreter", "Has a shell or an interpreter of the system run its commands."),
    "T1059.007": ("JavaScript", "Has JavaScript run its commands, in a browser or beside it."),
    "T1068": ("Exploitation for privilege escalation", "Uses a program's weakness to get rights it should not have."),
    "T1071": (
        "Application layer protocol",
        "Is commanded by an everyday protocol, so that it looks like other traffic.",
    ),
    "T1071.001": ("Web protocols", "Is commanded over HTTP or HTTPS, so that it looks like browsing."),
    "T1071.004": ("DNS", "Is commanded through DNS questions and answers."),
    "T1078": ("Valid accounts", "Uses accounts that are real, so that nothing looks broken into."),
    "T1105": ("Ingress tool transfer", "Brings its programs in from outside."),
    "T1110": ("Brute force", "Tries passwords until one fits."),
    "T1110.001": ("Password guessing", "Tries likely passwords against a login, without knowing any."),
    "T1190": ("Exploit public-facing application", "Uses a weakness of a service that can be reached from outside."),
    "T1203": ("Exploitation for client execution", "Uses a weakness of a program that somebody opens something with."),
    "T1204.002": ("Malicious file", "Waits for somebody to open the file that lets it in."),
    "T1210": ("Exploitation of remote services", "Uses a weakness of a service inside to get on to other machines."),
    "T1498": ("Network denial of service", "Fills the line, so that nothing else gets through."),
    "T1498.001": ("Direct network flood", "Sends more packets than the line or the target can take."),
    "T1498.002": ("Reflection amplification", "Has strangers' servers send their large answers to the victim."),
    "T1499": ("Endpoint denial of service", "Uses up what a service has, without filling the line."),
    "T1499.001": ("OS exhaustion flood", "Uses up the system's connections, such as by SYN packets."),
    "T1499.002": ("Service exhaustion flood", "Asks a service more than it can answer."),
    "T1499.004": ("Application or system exploitation", "Makes a program crash by what it sends."),
    "T1505": ("Server software component", "Stays by an extension of a server, such as a web shell."),
    "T1572": ("Protocol tunneling", "Hides its traffic inside another protocol."),
    "T1595": ("Active scanning", "Looks a victim over from outside before anything else."),
    "T1595.002": ("Vulnerability scanning", "Looks for known weaknesses of what a victim shows."),
    "T1595.003": ("Wordlist scanning", "Asks a web server for many likely names, to find what is not linked."),
    "T1602.001": ("SNMP (MIB dump)", "Reads out the configuration of network devices over SNMP."),
}


@dataclass(frozen=True)
class Technique:
    """A technique by its number."""

    technique_id: str
    name: str
    meaning: str

    @property
    def address(self) -> str:
        """Its page in the catalogue."""
        return f"https://attack.mitre.org/techniques/{self.technique_id.replace('.', '/')}/"


def technique(technique_id: str) -> Technique | None:
    """What a number stands for; without name and meaning where it is none of ours, None where it is empty."""
    if not technique_id:
        return None
    return Technique(technique_id, *_KNOWN.get(technique_id, ("", "")))
