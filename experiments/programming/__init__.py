"""The cost of programming n VMs on h hosts, with recording switches or real bridges (paper section 5.3, figure 11a)."""
