Map call(Map args = [:]) {
    return bgciRun('test', args)
}
