"""What it costs to program n VMs on h hosts, on recording sinks or real bridges (paper section 5.3, figure 11a)."""
