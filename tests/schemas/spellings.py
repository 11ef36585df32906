"""One CICFlowMeter flow as the five tools and datasets in circulation write it."""

from __future__ import annotations

from decimal import Decimal

# The 76 features in one order, spelled five ways: published 2017, CSE 2018, Java tool, Python tool (from 0.3 on).
_SPELLED = """
Flow Duration|Flow Duration|Flow Duration|flow_duration
Total Fwd Packets|Tot Fwd Pkts|Total Fwd Packet|tot_fwd_pkts
Total Backward Packets|Tot Bwd Pkts|Total Bwd packets|tot_bwd_pkts
Total Length of Fwd Packets|TotLen Fwd Pkts|Total Length of Fwd Packet|totlen_fwd_pkts
Total Length of Bwd Packets|TotLen Bwd Pkts|Total Length of Bwd Packet|totlen_bwd_pkts
Fwd Packet Length Max|Fwd Pkt Len Max|Fwd Packet Length Max|fwd_pkt_len_max
Fwd Packet Length Min|Fwd Pkt Len Min|Fwd Packet Length Min|fwd_pkt_len_min
Fwd Packet Length Mean|Fwd Pkt Len Mean|Fwd Packet Length Mean|fwd_pkt_len_mean
Fwd Packet Length Std|Fwd Pkt Len Std|Fwd Packet Length Std|fwd_pkt_len_std
Bwd Packet Length Max|Bwd Pkt Len Max|Bwd Packet Length Max|bwd_pkt_len_max
Bwd Packet Length Min|Bwd Pkt Len Min|Bwd Packet Length Min|bwd_pkt_len_min
Bwd Packet Length Mean|Bwd Pkt Len Mean|Bwd Packet Length Mean|bwd_pkt_len_mean
Bwd Packet Length Std|Bwd Pkt Len Std|Bwd Packet Length Std|bwd_pkt_len_std
Flow Bytes/s|Flow Byts/s|Flow Bytes/s|flow_byts_s
Flow Packets/s|Flow Pkts/s|Flow Packets/s|flow_pkts_s
Flow IAT Mean|Flow IAT Mean|Flow IAT Mean|flow_iat_mean
Flow IAT Std|Flow IAT Std|Flow IAT Std|flow_iat_std
Flow IAT Max|Flow IAT Max|Flow IAT Max|flow_iat_max
Flow IAT Min|Flow IAT Min|Flow IAT Min|flow_iat_min
Fwd IAT Total|Fwd IAT Tot|Fwd IAT Total|fwd_iat_tot
Fwd IAT Mean|Fwd IAT Mean|Fwd IAT Mean|fwd_iat_mean
Fwd IAT Std|Fwd IAT Std|Fwd IAT Std|fwd_iat_std
Fwd IAT Max|Fwd IAT Max|Fwd IAT Max|fwd_iat_max
Fwd IAT Min|Fwd IAT Min|Fwd IAT Min|fwd_iat_min
Bwd IAT Total|Bwd IAT Tot|Bwd IAT Total|bwd_iat_tot
Bwd IAT Mean|Bwd IAT Mean|Bwd IAT Mean|bwd_iat_mean
Bwd IAT Std|Bwd IAT Std|Bwd IAT Std|bwd_iat_std
Bwd IAT Max|Bwd IAT Max|Bwd IAT Max|bwd_iat_max
Bwd IAT Min|Bwd IAT Min|Bwd IAT Min|bwd_iat_min
Fwd PSH Flags|Fwd PSH Flags|Fwd PSH Flags|fwd_psh_flags
Bwd PSH Flags|Bwd PSH Flags|Bwd PSH Flags|bwd_psh_flags
Fwd URG Flags|Fwd URG Flags|Fwd URG Flags|fwd_urg_flags
Bwd URG Flags|Bwd URG Flags|Bwd URG Flags|bwd_urg_flags
Fwd Header Length|Fwd Header Len|Fwd Header Length|fwd_header_len
Bwd Header Length|Bwd Header Len|Bwd Header Length|bwd_header_len
Fwd Packets/s|Fwd Pkts/s|Fwd Packets/s|fwd_pkts_s
Bwd Packets/s|Bwd Pkts/s|Bwd Packets/s|bwd_pkts_s
Min Packet Length|Pkt Len Min|Packet Length Min|pkt_len_min
Max Packet Length|Pkt Len Max|Packet Length Max|pkt_len_max
Packet Length Mean|Pkt Len Mean|Packet Length Mean|pkt_len_mean
Packet Length Std|Pkt Len Std|Packet Length Std|pkt_len_std
Packet Length Variance|Pkt Len Var|Packet Length Variance|pkt_len_var
FIN Flag Count|FIN Flag Cnt|FIN Flag Count|fin_flag_cnt
SYN Flag Count|SYN Flag Cnt|SYN Flag Count|syn_flag_cnt
RST Flag Count|RST Flag Cnt|RST Flag Count|rst_flag_cnt
PSH Flag Count|PSH Flag Cnt|PSH Flag Count|psh_flag_cnt
ACK Flag Count|ACK Flag Cnt|ACK Flag Count|ack_flag_cnt
URG Flag Count|URG Flag Cnt|URG Flag Count|urg_flag_cnt
CWE Flag Count|CWE Flag Count|CWR Flag Count|cwr_flag_count
ECE Flag Count|ECE Flag Cnt|ECE Flag Count|ece_flag_cnt
Down/Up Ratio|Down/Up Ratio|Down/Up Ratio|down_up_ratio
Average Packet Size|Pkt Size Avg|Average Packet Size|pkt_size_avg
Avg Fwd Segment Size|Fwd Seg Size Avg|Fwd Segment Size Avg|fwd_seg_size_avg
Avg Bwd Segment Size|Bwd Seg Size Avg|Bwd Segment Size Avg|bwd_seg_size_avg
Fwd Avg Bytes/Bulk|Fwd Byts/b Avg|Fwd Bytes/Bulk Avg|fwd_byts_b_avg
Fwd Avg Packets/Bulk|Fwd Pkts/b Avg|Fwd Packet/Bulk Avg|fwd_pkts_b_avg
Fwd Avg Bulk Rate|Fwd Blk Rate Avg|Fwd Bulk Rate Avg|fwd_blk_rate_avg
Bwd Avg Bytes/Bulk|Bwd Byts/b Avg|Bwd Bytes/Bulk Avg|bwd_byts_b_avg
Bwd Avg Packets/Bulk|Bwd Pkts/b Avg|Bwd Packet/Bulk Avg|bwd_pkts_b_avg
Bwd Avg Bulk Rate|Bwd Blk Rate Avg|Bwd Bulk Rate Avg|bwd_blk_rate_avg
Subflow Fwd Packets|Subflow Fwd Pkts|Subflow Fwd Packets|subflow_fwd_pkts
Subflow Fwd Bytes|Subflow Fwd Byts|Subflow Fwd Bytes|subflow_fwd_byts
Subflow Bwd Packets|Subflow Bwd Pkts|Subflow Bwd Packets|subflow_bwd_pkts
Subflow Bwd Bytes|Subflow Bwd Byts|Subflow Bwd Bytes|subflow_bwd_byts
Init_Win_bytes_forward|Init Fwd Win Byts|FWD Init Win Bytes|init_fwd_win_byts
Init_Win_bytes_backward|Init Bwd Win Byts|Bwd Init Win Bytes|init_bwd_win_byts
act_data_pkt_fwd|Fwd Act Data Pkts|Fwd Act Data Pkts|fwd_act_data_pkts
min_seg_size_forward|Fwd Seg Size Min|Fwd Seg Size Min|fwd_seg_size_min
Active Mean|Active Mean|Active Mean|active_mean
Active Std|Active Std|Active Std|active_std
Active Max|Active Max|Active Max|active_max
Active Min|Active Min|Active Min|active_min
Idle Mean|Idle Mean|Idle Mean|idle_mean
Idle Std|Idle Std|Idle Std|idle_std
Idle Max|Idle Max|Idle Max|idle_max
Idle Min|Idle Min|Idle Min|idle_min
"""
_ROWS = [line.split("|") for line in _SPELLED.strip().splitlines()]
_PUBLISHED, _CSE, _JAVA, _PYTHON = (list(column) for column in zip(*_ROWS, strict=True))
_TIMES = {name for name in _PYTHON if name == "flow_duration" or name.split("_")[0] in ("active", "idle")}
_TIMES |= {name for name in _PYTHON if "_iat_" in name}

SPELLINGS = ("labelled_flows", "machine_learning_cve", "cse_cic_ids2018", "java_tool", "python_tool")
FEATURES = tuple(_JAVA)


def header(spelling: str) -> list[str]:
    """Column names as the files of a spelling have them, label included where they do."""
    ids = ["Flow ID", "Source IP", "Source Port", "Destination IP", "Destination Port", "Protocol", "Timestamp"]
    doubled = _PUBLISHED.index("Avg Bwd Segment Size") + 1  # the second Fwd Header Length comes after it
    if spelling == "labelled_flows":
        return [*ids, *_PUBLISHED[:doubled], "Fwd Header Length.1", *_PUBLISHED[doubled:], "Label"]
    if spelling == "machine_learning_cve":
        names = ["Destination Port", *_PUBLISHED[:doubled], "Fwd Header Length", *_PUBLISHED[doubled:], "Label"]
        return [f" {name}" for name in names]
    if spelling == "cse_cic_ids2018":
        return ["Dst Port", "Protocol", "Timestamp", *_CSE, "Label"]
    if spelling == "java_tool":
        return ["Flow ID", "Src IP", "Src Port", "Dst IP", "Dst Port", "Protocol", "Timestamp", *_JAVA, "Label"]
    return ["src_ip", "dst_ip", "src_port", "dst_port", "protocol", "timestamp", *reversed(_PYTHON)]


def write_row(spelling: str, values: dict[str, str], label: str) -> list[str]:
    """One flow, given by the Java tool's feature names in microseconds, as a spelling writes it.

    It started on 7 July 2017 at 18:56:00 UTC, 15:56 in Fredericton.
    """
    by_name = {name: values[_JAVA[place]] for column in (_PUBLISHED, _CSE, _JAVA) for place, name in enumerate(column)}
    by_name |= {name: _seconds(values[_JAVA[place]], name) for place, name in enumerate(_PYTHON)}
    by_name |= dict.fromkeys(("Source IP", "Src IP", "src_ip"), "192.0.2.1")
    by_name |= dict.fromkeys(("Source Port", "Src Port", "src_port"), "49650")
    by_name |= dict.fromkeys(("Destination IP", "Dst IP", "dst_ip"), "198.51.100.7")
    by_name |= dict.fromkeys(("Destination Port", "Dst Port", "dst_port"), "80")
    by_name |= dict.fromkeys(("Protocol", "protocol"), "6")
    by_name |= {"Fwd Header Length.1": values["Fwd Header Length"], "Label": label}
    by_name |= {"Flow ID": "192.0.2.1-198.51.100.7-49650-80-6", "timestamp": "2017-07-07 18:56:00"}
    by_name["Timestamp"] = {
        "labelled_flows": "7/7/2017 3:56",
        "cse_cic_ids2018": "07/07/2017 03:56:00",
        "java_tool": "07/07/2017 06:56:00 PM",
    }.get(spelling, "")
    return [by_name[name.strip()] for name in header(spelling)]


def _seconds(microseconds: str, name: str) -> str:
    return str(Decimal(microseconds) / 1_000_000) if name in _TIMES and microseconds else microseconds
